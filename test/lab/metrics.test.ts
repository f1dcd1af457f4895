import assert from 'node:assert/strict'
import { test } from 'node:test'
import { rmsBaseline } from '../../lab/evaluation/baseline.ts'
import { hierarchicalMetrics } from '../../lab/evaluation/pair.ts'
import { chooseThreshold, costAt, fitTemperature, temper } from '../../lab/training/calibration.ts'
import { calibrationError, classificationMetrics } from '../../lab/training/metrics.ts'

const classes = ['normal', 'ball', 'inner-race']

test('metrics of a small confusion matrix are those computed by hand', () => {
  const metrics = classificationMetrics([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0], classes)
  assert.deepEqual(metrics, {
    windows: 6,
    accuracy: 0.6667,
    macroF1: 0.6667,
    recall: { normal: 0.6667, ball: 0.6667, 'inner-race': null },
    falseAlarmRate: 0.3333,
    missedFaultRate: 0.3333,
    confusion: [
      [2, 1, 0],
      [1, 2, 0],
      [0, 0, 0],
    ],
  })
})

test('the fitted temperature undoes overconfidence and never adds any', () => {
  // Right three times of four, while saying 99 %: a temperature brings it near 75 %.
  const overconfident = Float32Array.from([0.99, 0.01, 0.99, 0.01, 0.99, 0.01, 0.99, 0.01])
  const temperature = fitTemperature(overconfident, Uint8Array.of(0, 0, 0, 1), 2)
  const [confidence] = temper(overconfident, 2, temperature)
  assert.ok(Math.abs(confidence! - 0.75) < 0.01)
  assert.ok(Math.abs(fitTemperature(Float32Array.from([0.6, 0.4]), Uint8Array.of(0), 2) - 1) < 0.01)
})

test('calibration error is the gap between confidence and accuracy', () => {
  const probabilities = Float32Array.from([0.75, 0.25, 0.75, 0.25, 0.75, 0.25, 0.75, 0.25])
  assert.equal(calibrationError(probabilities, Uint8Array.of(0, 0, 0, 1), 2), 0)
  assert.equal(calibrationError(probabilities, Uint8Array.of(0, 0, 0, 0), 2), 0.25)
})

test('the threshold escalates what is cheaper to ask than to get wrong', () => {
  const outcome = (confidence: number, localRight: boolean) => ({ confidence, localRight, serverRight: true })
  const outcomes = [outcome(0.5, false), outcome(0.6, false), outcome(0.8, true), outcome(0.9, true)]
  assert.equal(chooseThreshold(outcomes, 0.2), 0.61)
  assert.deepEqual(costAt(outcomes, 0.61, 0.2), { escalated: 0.5, accuracy: 1, cost: 0.1 })
  assert.equal(chooseThreshold(outcomes, 5), 0)
})

test('the pair answers with the server below the threshold and with the device above', () => {
  const answers = {
    labels: Uint8Array.of(0, 1),
    local: Float32Array.from([0.9, 0.1, 0, 0.4, 0.3, 0.3]),
    server: Float32Array.from([0, 0, 1, 0, 1, 0]),
  }
  const { accuracy, escalated, cost } = hierarchicalMetrics(answers, classes, 0.5, 0.2)
  assert.deepEqual({ accuracy, escalated, cost }, { accuracy: 1, escalated: 0.5, cost: 0.1 })
  assert.equal(hierarchicalMetrics(answers, classes, 0, 0.2).accuracy, 0.5)
})

test('the RMS rule finds the limit between two levels', () => {
  const windows = [0.1, 0.2, 1, 2].map((level, i) => ({
    window: { samples: Float32Array.of(level, -level), shape: [2], rateHz: 1 },
    class: i < 2 ? 'normal' : 'ball',
    origin: '',
  }))
  assert.deepEqual(rmsBaseline(windows, windows), {
    limit: 0.6,
    detectionAccuracy: 1,
    falseAlarmRate: 0,
    missedFaultRate: 0,
  })
})
