import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Bearing,
  bearingDescription,
  bearingFrom,
  bearingOf,
  envelopeSpectrum,
  frequenciesHz,
  orderBands,
  skf6203,
  skf6205,
  wideBand,
} from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { near, samplesOf } from './signals.ts'

test('the kinematics of the 6205 give the multipliers its data sheet lists', () => {
  // Nine balls of 7.94 mm on a pitch circle of 39.04 mm.
  const computed = bearingOf({ balls: 9, ballDiameter: 7.94, pitchDiameter: 39.04 })
  for (const [name, value] of Object.entries(skf6205))
    assert.ok(near(computed[name as keyof Bearing], value, 2e-3), `${name} ${computed[name as keyof Bearing]}`)
})

test('outer and inner passes sum to the number of balls, and the cage carries the balls past the outer race', () => {
  const bearing = bearingOf({ balls: 12, ballDiameter: 10, pitchDiameter: 60, contactAngleDeg: 25 })
  assert.ok(near(bearing.bpfo + bearing.bpfi, 12, 1e-12))
  assert.ok(near(bearing.bpfo, 12 * bearing.ftf, 1e-12))
})

test('frequencies in Hz are orders times the shaft speed', () => {
  assert.deepEqual(frequenciesHz({ bpfo: 3, bpfi: 5, bsf: 2, ftf: 0.4 }, 30), { bpfo: 90, bpfi: 150, bsf: 60, ftf: 12 })
})

test('a geometry that cannot be is refused', () => {
  const wrong = [
    { balls: 1, ballDiameter: 1, pitchDiameter: 5 },
    { balls: 8.5, ballDiameter: 1, pitchDiameter: 5 },
    { balls: 8, ballDiameter: 5, pitchDiameter: 5 },
    { balls: 8, ballDiameter: 0, pitchDiameter: 5 },
    { balls: 8, ballDiameter: 1, pitchDiameter: 5, contactAngleDeg: 90 },
  ]
  for (const geometry of wrong)
    assert.throws(
      () => bearingOf(geometry),
      (error: unknown) => error instanceof FaultlineError && error.code === 'CONFIG_INVALID',
    )
})

const rateHz = 12_000
const shaftHz = 29.5

/** One ringing impact per period, as a defect would make. */
const impactTrain = (hz: number, gain = 1) =>
  samplesOf(4_096, i => {
    const since = (i / rateHz) % (1 / hz)
    return gain * Math.exp(-900 * since) * Math.sin(2 * Math.PI * 3_000 * since)
  })

const bandsOf = (samples: Float32Array) =>
  orderBands(envelopeSpectrum(samples, rateHz, wideBand(rateHz)), shaftHz, skf6205)

for (const [name, order] of [
  ['bpfo', skf6205.bpfo],
  ['bpfi', skf6205.bpfi],
  ['bsf', 2 * skf6205.bsf],
] as const) {
  test(`an impact train at the rate of ${name} fills its bands above those of the other defects`, () => {
    const bands = bandsOf(impactTrain(order * shaftHz))
    for (const other of ['bpfo', 'bpfi', 'bsf'].filter(candidate => candidate !== name))
      assert.ok(bands[`${name}1`]! > 5 * bands[`${other}1`]!, `${other}1 ${bands[`${other}1`]}`)
    assert.ok(bands[`${name}1`]! > 0.15, `${bands[`${name}1`]}`)
    assert.ok(bands[`${name}2`]! > 0.05)
  })

  test(`the band of ${name} still catches impacts that come 1.5 % late`, () => {
    const exact = bandsOf(impactTrain(order * shaftHz))[`${name}1`]!
    assert.ok(bandsOf(impactTrain(order * shaftHz * 0.985))[`${name}1`]! > 0.6 * exact)
  })
}

test('order bands do not depend on the level', () => {
  const quiet = bandsOf(impactTrain(100, 0.01))
  const loud = bandsOf(impactTrain(100, 10))
  for (const [name, value] of Object.entries(quiet)) assert.ok(Math.abs(loud[name]! - value) < 1e-5, name)
})

test('silence has no energy in any band', () => {
  for (const value of Object.values(bandsOf(new Float32Array(1_024)))) assert.equal(value, 0)
})

test('a bearing is described by a name or by its geometry in mm', () => {
  assert.equal(bearingFrom(bearingDescription.parse('skf-6205')), skf6205)
  // Eight balls of 0.2656 inch on a pitch circle of 1.122 inch, as the data set's page lists them.
  const geometry = bearingDescription.parse({ balls: 8, ballDiameterMm: 6.746, pitchDiameterMm: 28.499 })
  for (const [name, value] of Object.entries(bearingFrom(geometry)))
    assert.ok(near(value, skf6203[name as keyof Bearing], 2e-3), `${name} ${value}`)
})

test('a description that is no bearing is refused', () => {
  for (const wrong of [
    'skf-1',
    { balls: 8, ballDiameterMm: 7 },
    { balls: 8, ballDiameterMm: 7, pitchDiameterMm: 7 },
    { balls: 8, ballDiameterMm: 7, pitchDiameterMm: 30, contactAngleDeg: 90 },
  ])
    assert.equal(bearingDescription.safeParse(wrong).success, false, JSON.stringify(wrong))
})
