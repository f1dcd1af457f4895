import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createPolicy, type LocalResult } from '@faultline/inference'
import fc from 'fast-check'
import { twoThresholds } from '../../inference/policies/calibrated.ts'
import { normalisedEntropy } from '../../inference/policies/entropy.ts'
import { type LogisticCoefficients, logisticPresets } from '../../inference/policies/logistic-presets.ts'
import { withCode } from './bundles.ts'
import { answer, binary, make, model } from './policy-support.ts'

const decide = (name: string, parameters: Record<string, unknown>, local: LocalResult, price = 0.2) => {
  const { action, reason } = make(name, parameters).decide(local, { price })
  return [action, reason]
}
const near = (actual: number | undefined, expected: number, tolerance = 1e-6) =>
  assert.ok(Math.abs((actual ?? Number.NaN) - expected) <= tolerance, `${actual} is not ${expected}`)

test('never accepts whatever is valid, always escalates it', () => {
  for (const local of [answer(1, 0, 0), answer(0.34, 0.33, 0.33)]) {
    assert.deepEqual(decide('never', {}, local), ['accept', 'always-accepts'])
    assert.deepEqual(decide('always', {}, local), ['escalate', 'always-escalates'])
  }
})

test('random escalates its share, whatever the answer', () => {
  for (const share of [0, 0.25, 1]) {
    const policy = make('random', { share })
    const count = 20_000
    let escalated = 0
    for (let i = 0; i < count; i++)
      if (policy.decide(i % 2 ? answer(1, 0, 0) : answer(0.4, 0.3, 0.3), { price: 0.2 }).action === 'escalate')
        escalated++
    assert.ok(Math.abs(escalated / count - share) < 0.01, String(escalated / count))
  }
})

test('threshold accepts at the threshold and escalates below it', () => {
  assert.deepEqual(decide('threshold', { threshold: 0.75 }, answer(0.25, 0.75, 0)), ['accept', 'confident'])
  assert.deepEqual(decide('threshold', { threshold: 0.75 }, answer(0.2501, 0.7499, 0)), ['escalate', 'below-threshold'])
})

test('threshold is calibrated by the bundle where nobody sets it', () => {
  assert.deepEqual(decide('threshold', {}, answer(0.8, 0.2, 0)), ['accept', 'confident'])
  assert.deepEqual(decide('threshold', {}, answer(0.79, 0.21, 0)), ['escalate', 'below-threshold'])
})

test('relevance accepts only what is confidently normal', () => {
  assert.deepEqual(decide('relevance', { confidence: 0.6 }, answer(0.6, 0.4, 0)), ['accept', 'normal'])
  assert.deepEqual(decide('relevance', { confidence: 0.6 }, answer(0.59, 0.41, 0)), ['escalate', 'below-threshold'])
  assert.deepEqual(decide('relevance', { confidence: 0.6 }, answer(0, 1, 0)), ['escalate', 'not-normal'])
  assert.deepEqual(decide('relevance', { normal: 'ball' }, answer(0, 1, 0)), ['accept', 'normal'])
})

test('margin compares the lead of the first class over the second', () => {
  assert.deepEqual(decide('margin', { margin: 0.25 }, answer(0.5, 0.25, 0.25)), ['accept', 'wide-margin'])
  assert.deepEqual(decide('margin', { margin: 0.25 }, answer(0.5, 0.375, 0.125)), ['escalate', 'narrow-margin'])
  // Two equal winners lead by nothing.
  assert.deepEqual(decide('margin', { margin: 0.01 }, answer(0.5, 0.5, 0)), ['escalate', 'narrow-margin'])
  assert.deepEqual(decide('margin', { margin: 0 }, answer(0.5, 0.5, 0)), ['accept', 'wide-margin'])
})

test('margin and entropy, from the threshold of the bundle, judge two classes as the threshold does', () => {
  for (const fault of [0.1, 0.19, 0.21, 0.5, 0.79, 0.81, 1]) {
    const [expected] = decide('threshold', {}, binary(fault))
    for (const name of ['margin', 'entropy'])
      assert.equal(decide(name, {}, binary(fault))[0], expected, `${name} ${fault}`)
  }
})

test('entropy is 0 for certainty and 1 for ignorance, and counts 0 ln 0 as 0', () => {
  assert.equal(normalisedEntropy([1, 0, 0]), 0)
  assert.equal(normalisedEntropy([0, 0, 0, 1]), 0)
  near(normalisedEntropy([0.25, 0.25, 0.25, 0.25]), 1)
  near(normalisedEntropy([0.5, 0.5, 0, 0]), 0.5)
  assert.deepEqual(decide('entropy', { entropy: 0 }, answer(0, 1, 0)), ['accept', 'low-entropy'])
  assert.deepEqual(decide('entropy', { entropy: 0.5 }, answer(0.5, 0.5, 0)), ['escalate', 'high-entropy'])
})

/** The lowest p1 that is accepted, p2 being given. */
const needed = ({ intercept, first, second }: LogisticCoefficients, p2: number) => -(intercept + second * p2) / first

test('the published coefficients of DIME accept from where they should', () => {
  const resnet8 = logisticPresets['resnet8-cifar10']
  near(needed(resnet8, 0), 0.778, 5e-4)
  near(-(resnet8.intercept + resnet8.second) / (resnet8.first - resnet8.second), 0.863, 5e-4)
  near(needed(logisticPresets['resnet8-firmware-int8'], 0), 0.82, 5e-4)
  const preset = { preset: 'resnet8-cifar10' }
  assert.deepEqual(decide('logistic-top2', preset, answer(0.864, 0.136, 0)), ['accept', 'likely-right'])
  assert.deepEqual(decide('logistic-top2', preset, answer(0.862, 0.138, 0)), ['escalate', 'likely-wrong'])
})

test('logistic regression takes equal winners for the first and the second', () => {
  const coefficients = { intercept: 0, first: 1, second: -1 }
  const { numbers, action } = make('logistic-top2', { coefficients }).decide(answer(0.4, 0.4, 0.2), { price: 0.2 })
  assert.equal(numbers.second, 0.4)
  assert.equal(numbers.logit, 0)
  assert.equal(action, 'accept')
})

test('calibrated accepts when a wrong answer costs no more on average than asking', () => {
  assert.deepEqual(decide('calibrated', {}, answer(0.75, 0.25, 0), 0.25), ['accept', 'cheaper-to-accept'])
  assert.deepEqual(decide('calibrated', {}, answer(0.74, 0.26, 0), 0.25), ['escalate', 'cheaper-to-ask'])
  assert.deepEqual(createPolicy({ name: 'calibrated' }).decide(answer(0, 1, 0), { price: 0.05 }).action, 'accept')
})

test('a dear missed fault keeps doubtful normals from being accepted, and no doubtful faults', () => {
  const costs = { missedFault: 50 }
  assert.deepEqual(decide('calibrated', costs, answer(0.997, 0.003, 0)), ['accept', 'cheaper-to-accept'])
  assert.deepEqual(decide('calibrated', costs, answer(0.995, 0.005, 0)), ['escalate', 'cheaper-to-ask'])
  assert.deepEqual(decide('calibrated', costs, answer(0.1, 0.9, 0)), ['accept', 'cheaper-to-accept'])
  // Which fault it is may matter less than whether it is one.
  assert.deepEqual(decide('calibrated', { wrongFault: 0.1 }, answer(0, 0.5, 0.5)), ['accept', 'cheaper-to-accept'])
  assert.deepEqual(decide('calibrated', {}, answer(0, 0.5, 0.5)), ['escalate', 'cheaper-to-ask'])
  assert.throws(() => createPolicy({ name: 'calibrated', parameters: costs }), withCode('CONFIG_INVALID', /normal/))
})

test('the closed form has two thresholds while asking can pay, and one beyond', () => {
  const costs = { missedFault: 1, falseAlarm: 0.5 }
  const table: [number, number, number][] = [
    [0.05, 0.05, 0.9],
    [0.1, 0.1, 0.8],
    [0.2, 0.2, 0.6],
    [0.3, 0.3, 0.4],
    [0.34, 1 / 3, 1 / 3],
    [0.9, 1 / 3, 1 / 3],
  ]
  for (const [price, lower, upper] of table) {
    const found = twoThresholds(price, costs)
    near(found.lower, lower)
    near(found.upper, upper)
  }
  near(twoThresholds(0.2, { missedFault: 50, falseAlarm: 1 }).lower, 0.004)
})

test('calibrated is the closed form, and escalates what that would call by the other name', () => {
  const cost = fc.integer({ min: 1, max: 500 }).map(value => value / 100)
  const share = fc.integer({ min: 0, max: 1_000 }).map(value => value / 1_000)
  fc.assert(
    fc.property(cost, cost, share, share, (missedFault, falseAlarm, price, fault) => {
      const { lower, upper } = twoThresholds(price, { missedFault, falseAlarm })
      // At a threshold both ways cost the same, and rounding decides.
      fc.pre([lower, upper, 0.5].every(edge => Math.abs(edge - fault) > 1e-9))
      const side = fault > 0.5 ? 'fault' : 'normal'
      const call = fault < lower ? 'normal' : fault > upper ? 'fault' : 'ask'
      const [action] = decide('calibrated', { missedFault, falseAlarm }, binary(fault), price)
      const answerCost = side === 'fault' ? falseAlarm * (1 - fault) : missedFault * fault
      assert.equal(action, call === side || answerCost <= price ? 'accept' : 'escalate')
      if (call === 'ask') assert.equal(action, 'escalate')
    }),
    { numRuns: 2_000, seed: 1 },
  )
})

test('a bundle that names no normal class is enough where all errors cost the same', () => {
  assert.equal(createPolicy({ name: 'calibrated' }, { digest: model.digest }).name, 'calibrated')
})
