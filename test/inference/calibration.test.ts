import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Calibration, calibrationModel, type LabelledAnswer, Random, reliabilityOf } from '@faultline/inference'
import fc from 'fast-check'
import { Belief, beliefState } from '../../inference/calibration/belief.ts'
import { ChangeDetector } from '../../inference/calibration/change-detector.ts'
import {
  featuresOf,
  MOST_OFFSETS,
  offsetsFor,
  type Prior,
  priorOf,
  shapeNames,
} from '../../inference/calibration/features.ts'
import { fitLogistic, sigmoid } from '../../inference/calibration/logistic.ts'
import { cholesky, inverse, solve } from '../../inference/calibration/matrix.ts'
import { ResidualCounters } from '../../inference/calibration/residual-counters.ts'
import { withCode } from './bundles.ts'

const near = (actual: number, expected: number, tolerance: number) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected} within ${tolerance}`)

/** Answers of a model that is right with sigma(slope logit(p1) + offset of its class), whatever it says. */
function answers(count: number, truth: { slope: number; offsets: readonly number[] }, seed = 1): LabelledAnswer[] {
  const random = new Random(seed)
  const classes = truth.offsets.length
  return Array.from({ length: count }, () => {
    const logit = 8 * random.uniform()
    const winner = Math.floor(random.uniform() * classes)
    const top = sigmoid(logit)
    const probabilities = truth.offsets.map((_, i) => (i === winner ? top : (1 - top) / (classes - 1)))
    return { probabilities, right: random.uniform() < sigmoid(truth.slope * logit + truth.offsets[winner]!) }
  })
}

const weights = fc
  .array(fc.integer({ min: 0, max: 10_000 }), { minLength: 4, maxLength: 4 })
  .filter(parts => parts.some(part => part > 0))
const distribution = weights.map(parts => {
  const sum = parts.reduce((total, part) => total + part, 0)
  return parts.map(part => part / sum)
})

describe('features', () => {
  test('are finite for every valid answer, certain ones included', () => {
    fc.assert(fc.property(distribution, p => featuresOf(p, 4).every(Number.isFinite)))
    for (const p of [
      [1, 0],
      [0, 1, 0],
      [0.5, 0.5],
      [0.25, 0.25, 0.25, 0.25],
    ])
      assert.ok(featuresOf(p, p.length).every(Number.isFinite), String(p))
  })

  test('say the same of an answer whose classes are renamed, but for the class', () => {
    const shape = (p: number[]) => featuresOf(p, 4).slice(0, shapeNames.length)
    fc.assert(
      fc.property(distribution, fc.constantFrom([1, 2, 3, 0], [3, 2, 1, 0], [0, 2, 1, 3]), (p, order) => {
        const renamed = order.map(i => p[i]!)
        for (const [i, value] of shape(renamed).entries()) near(value, shape(p)[i]!, 1e-9)
      }),
    )
  })

  test('name the predicted class, and none where there are too many', () => {
    assert.deepEqual(featuresOf([0.1, 0.7, 0.2], 3).slice(-3), [0, 1, 0])
    assert.equal(offsetsFor(MOST_OFFSETS), MOST_OFFSETS)
    assert.equal(offsetsFor(MOST_OFFSETS + 1), 0)
    assert.equal(featuresOf(new Array(1_000).fill(0.001), offsetsFor(1_000)).length, shapeNames.length)
  })
})

describe('logistic regression', () => {
  const wide: Prior = { mean: [0, 0, 0], deviation: [100, 100, 100] }
  const rowsOf = (count: number, seed = 3) => {
    const random = new Random(seed)
    return Array.from({ length: count }, () => [1, random.normal(), 2 * random.normal()])
  }
  const outcomesOf = (rows: readonly number[][], truth: readonly number[], seed = 4) => {
    const random = new Random(seed)
    return rows.map(row => random.uniform() < sigmoid(row.reduce((sum, x, i) => sum + x * truth[i]!, 0)))
  }

  test('finds the weights that outcomes were drawn with, as near as its own covariance says', () => {
    const truth = [-0.5, 1.5, -0.8]
    const rows = rowsOf(20_000)
    const { mean, covariance } = fitLogistic(rows, outcomesOf(rows, truth), wide)
    for (const [i, weight] of truth.entries()) near(mean[i]!, weight, 4 * Math.sqrt(covariance[i * 3 + i]!))
    assert.ok(covariance[0]! < 0.03 ** 2)
  })

  test('ends where the slope of the loss is zero', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1_000 }),
        fc.double({ min: 0.1, max: 20, noNaN: true }),
        (seed, deviation) => {
          const rows = rowsOf(60, seed)
          const right = outcomesOf(rows, [1, 3, -2], seed + 1)
          const prior = { mean: [0, 1, 0], deviation: [deviation, deviation, deviation] }
          const { mean } = fitLogistic(rows, right, prior)
          for (let j = 0; j < 3; j++) {
            let slope = (mean[j]! - prior.mean[j]!) / deviation ** 2
            for (const [i, row] of rows.entries())
              slope += (sigmoid(row.reduce((sum, x, k) => sum + x * mean[k]!, 0)) - Number(right[i])) * row[j]!
            near(slope, 0, 1e-3)
          }
        },
      ),
      { numRuns: 100, seed: 1 },
    )
  })

  test('stays finite where the outcomes are parted perfectly, or all alike', () => {
    const rows = rowsOf(200)
    for (const right of [rows.map(row => row[1]! > 0), rows.map(() => true), rows.map(() => false)]) {
      const { mean } = fitLogistic(rows, right, { mean: [0, 0, 0], deviation: [2, 2, 2] })
      assert.ok(mean.every(weight => Math.abs(weight) < 50))
    }
  })

  test('gives the prior where there is nothing to learn from', () => {
    const prior = { mean: [1, -2, 0.5], deviation: [1, 2, 3] }
    const { mean, covariance } = fitLogistic([], [], prior)
    assert.deepEqual([...mean], prior.mean)
    for (const [i, deviation] of prior.deviation.entries()) near(covariance[i * 3 + i]!, deviation ** 2, 1e-9)
  })

  test('one outcome at a time comes to the same as all at once', () => {
    const rows = rowsOf(2_000)
    const right = outcomesOf(rows, [0.5, 1, -1])
    const prior = { mean: [0, 0, 0], deviation: [1, 1, 1] }
    const belief = Belief.ofPrior(prior)
    for (const [i, row] of rows.entries()) belief.learn(row, right[i]!)
    const { mean, covariance } = fitLogistic(rows, right, prior)
    for (const [i, weight] of belief.state.mean.entries())
      near(weight, mean[i]!, 0.5 * Math.sqrt(covariance[i * 3 + i]!))
  })
})

test('a factor times its transpose is the matrix, and solves and inverts it', () => {
  const matrix = Float64Array.of(4, 2, 0.6, 2, 5, 1, 0.6, 1, 3)
  const factor = cholesky(matrix, 3)!
  const x = solve(factor, Float64Array.of(1, 2, 3))
  for (const [i, expected] of [1, 2, 3].entries())
    near(
      [0, 1, 2].reduce((sum, j) => sum + matrix[i * 3 + j]! * x[j]!, 0),
      expected,
      1e-12,
    )
  const inverted = inverse(factor, 3)
  for (const i of [0, 1, 2])
    for (const j of [0, 1, 2])
      near(
        [0, 1, 2].reduce((sum, k) => sum + matrix[i * 3 + k]! * inverted[k * 3 + j]!, 0),
        Number(i === j),
        1e-12,
      )
  assert.equal(cholesky(Float64Array.of(1, 2, 2, 1), 2), undefined)
})

describe('belief', () => {
  test('survives JSON, and refuses sizes that do not fit', () => {
    const belief = Belief.ofPrior(priorOf(3))
    for (const { probabilities, right } of answers(50, { slope: 1, offsets: [0, 0, 0] }))
      belief.learn(featuresOf(probabilities, 3), right)
    const state = beliefState.parse(JSON.parse(JSON.stringify(belief.state)))
    assert.deepEqual(Belief.of(state).state, belief.state)
    assert.ok(!beliefState.safeParse({ mean: [1, 2], covariance: [1, 0] }).success)
    assert.ok(!beliefState.safeParse({ mean: [1], covariance: [-1] }).success)
  })

  test('is the surer of an answer the more outcomes it saw, and less sure again when widened', () => {
    const belief = Belief.ofPrior(priorOf(0))
    const row = featuresOf([0.9, 0.1], 0)
    let last = belief.estimate(row).variance
    const first = last
    for (let i = 0; i < 30; i++) {
      belief.learn(row, i % 10 !== 0)
      const { variance } = belief.estimate(row)
      assert.ok(variance < last)
      last = variance
    }
    const { logit } = belief.estimate(row)
    belief.widen(priorOf(0))
    near(belief.estimate(row).variance, first, 1e-12)
    near(belief.estimate(row).logit, logit, 1e-12)
  })
})

describe('calibration', () => {
  const truth = { slope: 0.5, offsets: [0.6, -0.6, 0] }

  test('predicts how often answers are right, where the softmax does not', () => {
    const calibration = Calibration.fit(answers(4_000, truth), { classes: 3 })
    const fresh = answers(20_000, truth, 2)
    const outcomes = fresh.map(({ probabilities, right }) => ({
      predicted: calibration.predict(probabilities).right,
      right,
    }))
    const raw = fresh.map(({ probabilities, right }) => ({ predicted: Math.max(...probabilities), right }))
    const [fitted, softmax] = [reliabilityOf(outcomes)!, reliabilityOf(raw)!]
    assert.ok(fitted.calibrationError < 0.02, String(fitted.calibrationError))
    assert.ok(softmax.calibrationError > 0.08, String(softmax.calibrationError))
    assert.ok(fitted.logLoss < softmax.logLoss && fitted.brier < softmax.brier)
  })

  test('learns which classes are to be doubted', () => {
    const calibration = Calibration.fit(answers(4_000, truth), { classes: 3 })
    const [good, bad, middling] = [0, 1, 2].map(
      winner => calibration.predict([0, 1, 2].map(i => (i === winner ? 0.9 : 0.05))).logit,
    )
    near(good! - bad!, 1.2, 0.4)
    assert.ok(bad! < middling! && middling! < good!)
  })

  test('does not mind the order of the answers, nor what the classes are called', () => {
    const labelled = answers(500, truth)
    const forward = Calibration.fit(labelled, { classes: 3 })
    const backward = Calibration.fit([...labelled].reverse(), { classes: 3 })
    const renamed = Calibration.fit(
      labelled.map(({ probabilities: [a, b, c], right }) => ({ probabilities: [c!, a!, b!], right })),
      { classes: 3 },
    )
    for (const [a, b, c] of [
      [0.8, 0.15, 0.05],
      [0.1, 0.3, 0.6],
      [0, 1, 0],
    ] as const) {
      near(backward.predict([a, b, c]).right, forward.predict([a, b, c]).right, 1e-6)
      near(renamed.predict([c, a, b]).right, forward.predict([a, b, c]).right, 1e-6)
    }
  })

  test('without labels doubts the softmax a little, and with few moves a little', () => {
    const none = Calibration.fit([], { classes: 3 })
    near(none.predict([0.9, 0.1, 0]).logit, 0.7 * Math.log(9), 1e-9)
    assert.deepEqual(none.model.edges, [])
    const five = Calibration.fit(answers(5, truth), { classes: 3 })
    assert.ok(Math.abs(five.predict([0.9, 0.05, 0.05]).logit - none.predict([0.9, 0.05, 0.05]).logit) < 1.5)
  })

  test('goes through a bundle as JSON', () => {
    const { model } = Calibration.fit(answers(300, truth), { classes: 3 })
    const read = calibrationModel.parse(JSON.parse(JSON.stringify(model)))
    assert.deepEqual(read, model)
    assert.equal(
      new Calibration(read).predict([0.7, 0.2, 0.1]).right,
      new Calibration(model).predict([0.7, 0.2, 0.1]).right,
    )
    assert.ok(!calibrationModel.safeParse({ ...model, classes: 4 }).success)
    assert.ok(!calibrationModel.safeParse({ ...model, features: 2 }).success)
  })

  test('refuses an answer that is none, and says which', () => {
    const bad = [
      { probabilities: [0.5, 0.5, 0], right: true },
      { probabilities: [0.5, 0.5], right: true },
    ]
    assert.throws(() => Calibration.fit(bad, { classes: 3 }), withCode('MODEL_MISMATCH', /answer 2/))
  })
})

describe('reliability', () => {
  test('of predictions that come true is perfect, of nothing undefined', () => {
    assert.equal(reliabilityOf([]), undefined)
    const perfect = reliabilityOf(Array.from({ length: 100 }, (_, i) => ({ predicted: i % 2, right: i % 2 === 1 })))!
    assert.equal(perfect.calibrationError, 0)
    assert.equal(perfect.brier, 0)
    assert.equal(
      perfect.bins.reduce((sum, bin) => sum + bin.count, 0),
      100,
    )
  })

  test('measures how far predictions are off', () => {
    const { accuracy, calibrationError, brier } = reliabilityOf(
      Array.from({ length: 1_000 }, (_, i) => ({ predicted: 0.9, right: i % 10 < 7 })),
    )!
    near(accuracy, 0.7, 1e-12)
    near(calibrationError, 0.2, 1e-12)
    near(brier, 0.7 * 0.01 + 0.3 * 0.81, 1e-12)
  })
})

describe('change detector', () => {
  const options = { suspicion: 5, alarm: 8 }
  const run = (predicted: number, actual: number, count: number, seed: number) => {
    const detector = new ChangeDetector(options)
    const random = new Random(seed)
    for (let i = 1; i <= count; i++) if (detector.add(predicted, random.uniform() < actual)) return i
    return undefined
  }
  const seeds = Array.from({ length: 20 }, (_, i) => i + 1)

  test('keeps still while predictions come true', () => {
    const alarms = seeds.filter(seed => run(0.9, 0.9, 2_000, seed) !== undefined)
    assert.ok(alarms.length <= 2, `${alarms.length} of 20`)
  })

  test('finds more errors and fewer errors soon', () => {
    for (const seed of seeds) {
      assert.ok(run(0.9, 0.8, 2_000, seed)! < 1_000)
      assert.ok(run(0.7, 0.9, 2_000, seed)! < 1_000)
    }
  })

  test('suspects before it is sure, and begins anew once it was', () => {
    const detector = new ChangeDetector(options)
    let suspected = false
    while (!detector.add(0.9, false)) suspected ||= detector.suspects
    assert.ok(suspected)
    assert.ok(!detector.suspects)
    assert.equal(detector.evidence, 0)
  })

  test('no single outcome is enough to suspect anything', () => {
    const detector = new ChangeDetector(options)
    detector.add(1, false)
    assert.ok(!detector.suspects && Number.isFinite(detector.evidence))
  })
})

describe('residual counters', () => {
  const make = () => new ResidualCounters({ bins: 4, edges: [0.5, 0.7, 0.9], warmUp: 0 })

  test('object where outcomes contradict the predictions, and only there', () => {
    const counters = make()
    for (let i = 0; i < 100; i++) {
      counters.add(0.95, 0.97, i % 2 === 0)
      counters.add(0.6, 0.6, i % 10 < 6)
    }
    near(counters.objection(0.99)!, 0.45, 0.01)
    assert.equal(counters.objection(0.6), undefined)
    assert.equal(counters.objection(0.8), undefined)
  })

  test('say nothing from a few outcomes, and nothing after they were cleared', () => {
    const counters = make()
    for (let i = 0; i < 9; i++) counters.add(0.95, 0.99, false)
    assert.equal(counters.objection(0.95), undefined)
    for (let i = 0; i < 5; i++) counters.add(0.95, 0.99, false)
    assert.notEqual(counters.objection(0.95), undefined)
    counters.clear()
    assert.equal(counters.objection(0.95), undefined)
  })

  test('let outcomes fade', () => {
    const counters = make()
    for (let i = 0; i < 1_000; i++) counters.add(0.95, 0.95, i % 2 === 0)
    for (let i = 0; i < 5_000; i++) counters.add(0.95, 0.95, i % 20 !== 0)
    assert.equal(counters.objection(0.95), undefined)
  })

  test('lay their edges at quantiles of the first scores', () => {
    const counters = new ResidualCounters({ bins: 4, warmUp: 100 })
    for (let i = 0; i < 100; i++) counters.see(i / 100)
    const { edges, seen } = counters.state
    for (const [i, edge] of [0.25, 0.5, 0.75].entries()) near(edges![i]!, edge, 0.02)
    assert.deepEqual(seen, [])
  })
})
