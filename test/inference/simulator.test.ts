import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type BearingClass,
  BearingSimulator,
  bearingClasses,
  envelopeSpectrum,
  growing,
  type SimulatorOptions,
  skf6205,
  timeFeatures,
  wideBand,
} from '@faultline/inference'
import { withCode } from './bundles.ts'

const rateHz = 12_000
const simulator = (fault: BearingClass, options: Partial<SimulatorOptions> = {}) =>
  new BearingSimulator({ rateHz, shaftHz: 29.5, fault, seed: 11, ...options })

/** Envelope amplitude around an order, and the level of the background between the lines. */
function envelopeOf(source: BearingSimulator) {
  const samples = source.next(32_768)
  const { amplitudes, binHz } = envelopeSpectrum(samples, rateHz, wideBand(rateHz))
  const background = amplitudes.slice(1, 2_000).sort()[1_000]!
  const around = (order: number) => {
    const centre = (order * source.shaftHz) / binHz
    const reach = Math.max(3, 0.01 * centre)
    return Math.max(...amplitudes.slice(Math.floor(centre - reach), Math.ceil(centre + reach) + 1)) / background
  }
  const searched = amplitudes.slice(0, Math.ceil((8 * source.shaftHz) / binHz))
  searched.fill(0, 0, Math.floor((0.3 * source.shaftHz) / binHz))
  const highest = (searched.indexOf(Math.max(...searched)) * binHz) / source.shaftHz
  return { around, highest }
}

const impacts = { 'outer-race': skf6205.bpfo, 'inner-race': skf6205.bpfi, ball: 2 * skf6205.bsf }

test('an outer-race defect shows at BPFO and its harmonics, without sidebands at the shaft speed', () => {
  const { around, highest } = envelopeOf(simulator('outer-race'))
  assert.ok(Math.abs(highest / skf6205.bpfo - 1) < 0.015, `highest at ${highest}`)
  assert.ok(around(skf6205.bpfo) > 20 && around(2 * skf6205.bpfo) > 10)
  assert.ok(around(skf6205.bpfo + 1) < around(skf6205.bpfo) / 5)
})

test('an inner-race defect shows at BPFI, at the shaft speed and at sidebands of it', () => {
  const { around } = envelopeOf(simulator('inner-race'))
  for (const order of [skf6205.bpfi, 1, skf6205.bpfi - 1, skf6205.bpfi + 1])
    assert.ok(around(order) > 10, `order ${order}: ${around(order)}`)
  assert.ok(around(skf6205.bpfi) > 2 * around(skf6205.bpfo))
})

test('a ball defect shows at twice the ball spin, at the cage frequency and at sidebands of it', () => {
  const { around } = envelopeOf(simulator('ball'))
  for (const order of [2 * skf6205.bsf, skf6205.ftf, 2 * skf6205.bsf - skf6205.ftf, 2 * skf6205.bsf + skf6205.ftf])
    assert.ok(around(order) > 10, `order ${order}: ${around(order)}`)
})

test('a sound bearing shows none of it', () => {
  const { around } = envelopeOf(simulator('normal'))
  for (const order of Object.values(impacts)) assert.ok(around(order) < 5, `order ${order}: ${around(order)}`)
})

test('the defect frequencies follow the bearing and the shaft speed', () => {
  const bearing = { bpfo: 4.6, bpfi: 7.4, bsf: 3.1, ftf: 0.38 }
  const { highest } = envelopeOf(simulator('outer-race', { bearing, shaftHz: 17 }))
  assert.ok(Math.abs(highest / 4.6 - 1) < 0.015, `highest at ${highest}`)
})

test('the same seed gives the same samples, another seed others', () => {
  for (const fault of bearingClasses) {
    const samples = simulator(fault).next(2_000)
    assert.deepEqual(simulator(fault).next(2_000), samples)
    assert.notDeepEqual(simulator(fault, { seed: 12 }).next(2_000), samples)
  }
})

test('windows follow each other without a gap: many short ones are one long one', () => {
  for (const fault of bearingClasses) {
    const whole = simulator(fault).next(6_000)
    const source = simulator(fault)
    const parts = [1, 999, 2_500, 0, 2_500].flatMap(length => [...source.next(length)])
    assert.deepEqual(Float32Array.from(parts), whole, fault)
    assert.equal(source.seconds, 0.5)
  }
})

test('a fault of severity 0 is a sound bearing, sample for sample', () => {
  assert.deepEqual(simulator('inner-race', { severity: () => 0 }).next(5_000), simulator('normal').next(5_000))
})

test('a growing fault is silent before it begins, then louder and louder, then steady', () => {
  const severity = growing({ afterS: 2, durationS: 4 })
  assert.deepEqual([0, 1.9, 2, 4, 6, 60].map(severity), [0, 0, 0, 0.5, 1, 1])
  assert.deepEqual([1, 3].map(growing({ afterS: 2, durationS: 0, to: 0.7 })), [0, 0.7])
  const source = simulator('outer-race', { severity })
  const healthy = simulator('normal')
  const levels = Array.from({ length: 8 }, () => timeFeatures(source.next(rateHz)).rms)
  const background = timeFeatures(healthy.next(rateHz)).rms
  assert.ok(levels[0]! < 1.02 * background && levels[1]! < 1.02 * background)
  for (let i = 2; i < 6; i++) assert.ok(levels[i]! > levels[i - 1]!, String(levels))
  assert.ok(Math.abs(levels[7]! / levels[6]! - 1) < 0.1)
  assert.equal(source.severity, 1)
})

test('impacts raise the kurtosis of a fault above that of a sound bearing', () => {
  assert.ok(Math.abs(timeFeatures(simulator('normal').next(60_000)).kurtosis - 3) < 0.3)
  for (const fault of ['ball', 'inner-race', 'outer-race'] as const)
    assert.ok(timeFeatures(simulator(fault).next(60_000)).kurtosis > 5, fault)
})

test('the shaft speed wanders a little around its mean and is told for every window', () => {
  const source = simulator('normal', { speedRipple: 0.005 })
  assert.equal(source.shaftHz, 29.5)
  const speeds = Array.from({ length: 300 }, () => {
    source.next(1_200)
    return source.shaftHz
  })
  const mean = speeds.reduce((sum, hz) => sum + hz, 0) / speeds.length
  assert.ok(Math.abs(mean / 29.5 - 1) < 0.003, String(mean))
  assert.ok(Math.max(...speeds) / Math.min(...speeds) > 1.003)
  assert.ok(speeds.every(hz => Math.abs(hz / 29.5 - 1) < 0.03))
})

test('a simulation that cannot be is refused', () => {
  const wrong: Partial<SimulatorOptions>[] = [
    { rateHz: 0 },
    { shaftHz: -1 },
    { resonanceHz: 6_000 },
    { damping: 0 },
    { damping: Number.NaN },
  ]
  for (const options of wrong) assert.throws(() => simulator('ball', options), withCode('CONFIG_INVALID'))
})
