import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Commissioning, type CommissioningOptions, Random, rateSupportedBy, timeFeatures } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import fc from 'fast-check'

const withCode =
  (code: string, words = /./) =>
  (error: unknown) =>
    error instanceof FaultlineError && error.code === code && words.test(error.message)

/** Levels of a sound machine, mean 10 and deviation 1, each resembling the one before as `memory` says. */
function levels(count: number, seed: number, memory = 0): number[] {
  const random = new Random(seed)
  let deviation = random.normal()
  return Array.from({ length: count }, () => {
    deviation = memory * deviation + Math.sqrt(1 - memory ** 2) * random.normal()
    return 10 + deviation
  })
}

function learned(values: readonly number[], options: CommissioningOptions = {}): Commissioning {
  const commissioning = new Commissioning({ windows: values.length, ...options })
  for (const value of values) assert.equal(commissioning.observe({ meanAbs: value }), undefined)
  return commissioning
}

/** Probability that a standard normal variable exceeds `z` (Abramowitz & Stegun 26.2.17). */
function normalTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z)
  const series = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))))
  return (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * series
}

test('what a machine did while it was learned is normal afterwards, what lies far out is not', () => {
  const values = levels(200, 1)
  const commissioning = learned(values)
  const { phase, windows, limits } = commissioning.state
  assert.deepEqual({ phase, windows }, { phase: 'ready', windows: 200 })
  for (const value of values) assert.equal(commissioning.observe({ meanAbs: value })!.normal, true)
  const far = commissioning.observe({ meanAbs: 2 * limits.meanAbs!.limit })!
  assert.equal(far.normal, false)
  assert.ok(far.score > 1)
  assert.deepEqual(commissioning.state.windows, 200)
})

test('the limit keeps the target rate, and the rate it proves, in at least the stated share of machines', () => {
  for (const memory of [0, 0.7])
    for (const targetRate of [1e-2, 1e-4]) {
      const machines = 100
      let [above, unproved] = [0, 0]
      for (let machine = 0; machine < machines; machine++) {
        const { state } = learned(levels(300, machine, memory), { targetRate })
        assert.equal(state.phase, 'ready')
        const rate = normalTail(state.limits.meanAbs!.limit - 10)
        if (rate > targetRate) above++
        if (rate > state.supportedRate!) unproved++
      }
      // 5 of 100 are allowed; 11 or more come by chance once in a hundred.
      assert.ok(above <= 10, `${above} of ${machines} above ${targetRate} at memory ${memory}`)
      assert.ok(unproved <= 10, `${unproved} of ${machines} above the supported rate at memory ${memory}`)
    }
})

test('likeness of neighbouring windows costs independent ones', () => {
  const independent = learned(levels(600, 5)).state.effectiveWindows
  const alike = learned(levels(600, 5, 0.8)).state.effectiveWindows
  assert.ok(independent > 300, String(independent))
  // A first-order process with this memory has (1 - 0.8) / (1 + 0.8) of them.
  assert.ok(alike > 30 && alike < 130, String(alike))
})

test('a rarer alarm or more certainty needs a higher limit; a heavier tail too', () => {
  const values = levels(300, 9)
  const limit = (options: CommissioningOptions, from = values) => learned(from, options).state.limits.meanAbs!.limit
  assert.ok(limit({ targetRate: 1e-5 }) > limit({ targetRate: 1e-3 }))
  assert.ok(limit({ confidence: 0.99 }) > limit({ confidence: 0.6 }))
  const knocked = values.map((value, i) => (i % 60 === 7 ? 20 : value))
  assert.ok(limit({}, knocked) > 2 * limit({}))
})

test('another gain moves the limits in proportion', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e6 }), fc.double({ min: 1e-6, max: 1e6, noNaN: true }), (seed, gain) => {
      const values = levels(120, seed)
      const plain = learned(values).state
      const scaled = learned(values.map(value => gain * value)).state
      assert.equal(scaled.phase, plain.phase)
      assert.equal(scaled.effectiveWindows, plain.effectiveWindows)
      for (const key of ['centre', 'limit'] as const)
        assert.ok(Math.abs(scaled.limits.meanAbs![key] / (gain * plain.limits.meanAbs![key]) - 1) < 1e-9)
    }),
    { numRuns: 30 },
  )
})

test('nothing is judged before enough windows were seen', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 99 }), count => {
      const commissioning = new Commissioning({ windows: 100 })
      for (const value of levels(count, 3)) assert.equal(commissioning.observe({ meanAbs: value }), undefined)
      const { phase, waitingFor, windows, wanted, limits, supportedRate } = commissioning.state
      assert.deepEqual(
        { phase, waitingFor, windows, wanted },
        {
          phase: 'learning',
          waitingFor: 'windows',
          windows: count,
          wanted: 100,
        },
      )
      assert.deepEqual({ limits, supportedRate }, { limits: {}, supportedRate: undefined })
    }),
    { numRuns: 20 },
  )
})

test('a dead sensor and a machine that is still warming up are not learned as normal', () => {
  assert.equal(learned(new Array(300).fill(0)).state.waitingFor, 'variation')
  assert.equal(learned(new Array(300).fill(0.1)).state.waitingFor, 'variation')
  const warming = levels(300, 4).map((value, i) => value + i / 5)
  const commissioning = learned(warming)
  assert.equal(commissioning.state.waitingFor, 'independence')
  for (const value of levels(6_000, 6)) {
    commissioning.observe({ meanAbs: value + 60 })
    if (commissioning.state.phase === 'ready') break
  }
  assert.equal(commissioning.state.phase, 'ready')
})

test('a window without a finite value is refused and changes nothing', () => {
  for (const commissioning of [learned(levels(30, 2), { windows: 60 }), learned(levels(60, 2))]) {
    const before = commissioning.snapshot()
    const silent: Record<string, number>[] = [
      { meanAbs: Number.NaN },
      { meanAbs: Number.POSITIVE_INFINITY },
      { rms: 1 },
      { ...timeFeatures(Float32Array.of(1, Number.NaN, 2)) },
    ]
    for (const features of silent)
      assert.throws(() => commissioning.observe(features), withCode('WINDOW_INVALID', /meanAbs/))
    assert.deepEqual(commissioning.snapshot(), before)
  }
})

test('learning anew forgets the machine', () => {
  const commissioning = learned(levels(200, 1))
  const old = commissioning.state.limits.meanAbs!.limit
  commissioning.relearn()
  assert.equal(commissioning.state.phase, 'learning')
  assert.equal(commissioning.state.windows, 0)
  for (const value of levels(200, 8)) commissioning.observe({ meanAbs: 3 * value })
  assert.ok(commissioning.state.limits.meanAbs!.limit > 2 * old)
})

test('a snapshot goes through JSON at any moment and goes on the same', () => {
  const values = levels(400, 11)
  for (const cut of [0, 7, 199, 200, 333]) {
    const whole = new Commissioning({ windows: 350 })
    const first = new Commissioning({ windows: 350 })
    for (const value of values.slice(0, cut)) first.observe({ meanAbs: value })
    const second = new Commissioning({ windows: 350 })
    second.restore(JSON.parse(JSON.stringify(first.snapshot())))
    for (const value of values) whole.observe({ meanAbs: value })
    for (const value of values.slice(cut)) second.observe({ meanAbs: value })
    assert.deepEqual(second.state, whole.state)
  }
})

test('another target rate takes effect on what was learned already', () => {
  const first = learned(levels(200, 1), { targetRate: 1e-2 })
  const stricter = new Commissioning({ windows: 200, targetRate: 1e-6 })
  stricter.restore(first.snapshot())
  assert.ok(stricter.state.limits.meanAbs!.limit > first.state.limits.meanAbs!.limit)
})

test('memory stays bounded however long learning lasts', () => {
  const commissioning = new Commissioning({ windows: 100_000 })
  let longest = 0
  for (const value of levels(20_000, 1)) {
    commissioning.observe({ meanAbs: value })
    if (commissioning.state.windows % 1_000 === 0)
      longest = Math.max(longest, JSON.stringify(commissioning.snapshot()).length)
  }
  assert.ok(longest < 4_000, String(longest))
})

test('the statistic that is furthest out is the one named', () => {
  const commissioning = new Commissioning({ statistics: ['rms', 'kurtosis'], windows: 100 })
  const [a, b] = [levels(100, 1), levels(100, 2)]
  for (const [i, rms] of a.entries()) commissioning.observe({ rms, kurtosis: b[i]! })
  const judgement = commissioning.observe({ rms: 10, kurtosis: 90 })!
  assert.equal(judgement.statistic, 'kurtosis')
  assert.equal(judgement.value, 90)
  assert.equal(judgement.normal, false)
})

test('a damaged or foreign snapshot and wrong options are refused by name', () => {
  const commissioning = learned(levels(100, 1))
  const snapshot = commissioning.snapshot()
  const damaged = structuredClone(snapshot) as { statistics: Record<string, { count: number }> }
  damaged.statistics.meanAbs!.count++
  for (const wrong of [null, {}, { ...snapshot, version: 2 }, damaged])
    assert.throws(() => commissioning.restore(wrong), withCode('COMMISSIONING_STATE_INVALID', /damaged/))
  const other = new Commissioning({ statistics: ['rms'] })
  assert.throws(() => other.restore(snapshot), withCode('COMMISSIONING_STATE_INVALID', /meanAbs/))
  assert.throws(() => new Commissioning({ statistics: ['loudness'] }), withCode('FEATURE_UNKNOWN', /loudness/))
  assert.throws(() => new Commissioning({ statistics: ['rms', 'rms'] }), withCode('CONFIG_INVALID', /twice/))
  assert.throws(() => new Commissioning({ windows: 10 }), withCode('CONFIG_INVALID', /windows/))
  assert.throws(() => new Commissioning({ targetRate: 0 }), withCode('CONFIG_INVALID', /targetRate/))
})

test('the rate that windows without an alarm prove is the rule of three', () => {
  assert.ok(Math.abs(rateSupportedBy(1_000) - 3 / 1_000) < 1e-5)
  assert.equal(rateSupportedBy(0), 1)
  assert.ok(rateSupportedBy(100, 0.99) > rateSupportedBy(100, 0.9))
})
