import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  BearingSimulator,
  bearingOf,
  extractFeatures,
  featureNames,
  featureVector,
  type InputDescription,
  represent,
  representationNames,
  skf6205,
  timeFeatures,
} from '@faultline/inference'
import { type ErrorCode, FaultlineError } from '@faultline/protocol'
import { samplesOf, sine, windowOf } from './signals.ts'

const withCode = (code: ErrorCode) => (error: unknown) => error instanceof FaultlineError && error.code === code
const wave = windowOf(sine(2_048, 12_000, 700), 12_000, 29.5)

test('the features are exactly the names in the list, in its order, all finite', () => {
  const features = extractFeatures(wave)
  assert.deepEqual(Object.keys(features), [...featureNames])
  for (const [name, value] of Object.entries(features)) assert.ok(Number.isFinite(value), name)
  assert.equal(features.rms, timeFeatures(wave.samples).rms)
})

const isOrderFeature = (name: string): boolean => /^(bpfo|bpfi|bsf|ftf|shaft)/.test(name)

test('without a shaft speed there are no order features, and the others are unchanged', () => {
  const known = Object.entries(extractFeatures(wave))
  const without = extractFeatures(windowOf(wave.samples))
  assert.deepEqual(without, Object.fromEntries(known.filter(([name]) => !isOrderFeature(name))))
})

test('a vector with an order feature needs the shaft speed, any other does not', () => {
  const still = windowOf(wave.samples)
  for (const name of featureNames) {
    if (isOrderFeature(name)) assert.throws(() => featureVector(still, ['rms', name]), withCode('WINDOW_INVALID'), name)
    else assert.equal(featureVector(still, [name]).length, 1)
  }
})

test('a vector holds the named features in the order asked for', () => {
  const { rms, kurtosis } = extractFeatures(wave)
  assert.deepEqual(featureVector(wave, ['kurtosis', 'rms']), Float32Array.of(kurtosis!, rms!))
})

test('an unknown feature is named', () => {
  for (const name of ['RMS', 'toString', ''])
    assert.throws(() => featureVector(wave, ['rms', name]), withCode('FEATURE_UNKNOWN'), name)
})

test('a silent window has features, all zero or finite', () => {
  for (const value of Object.values(extractFeatures(windowOf(new Float32Array(256), 12_000, 30))))
    assert.equal(value, 0)
})

test('the spectral shape peaks where the tone is, whatever its level', () => {
  for (const gain of [1, 1e-3]) {
    const features = extractFeatures(windowOf(wave.samples.map(x => gain * x)))
    const shape = Array.from({ length: 16 }, (_, i) => features[`shape${i + 1}`]!)
    // 700 Hz lies in the third cell of 312.5 Hz.
    assert.equal(shape.indexOf(Math.max(...shape)), 2)
    assert.ok(Math.abs(shape[10]! + 2) < 0.05, String(shape[10]))
  }
})

const signal = (representation: string, ...shape: number[]): Extract<InputDescription, { kind: 'signal' }> => ({
  kind: 'signal',
  samples: 2_048,
  rateHz: 12_000,
  representation,
  shape,
})

const badWindows: Record<string, typeof wave> = {
  'an empty window': windowOf(new Float32Array(0)),
  'a NaN': windowOf(samplesOf(2_048, i => (i === 2_047 ? Number.NaN : 0))),
  'an infinity': windowOf(samplesOf(2_048, i => (i === 0 ? Number.POSITIVE_INFINITY : 0))),
  'a rate of zero': windowOf(sine(2_048, 12_000, 100), 0),
  'a rate that is no number': windowOf(sine(2_048, 12_000, 100), Number.NaN),
  'a negative shaft speed': windowOf(sine(2_048, 12_000, 100), 12_000, -1),
  'a shape that does not fit': { ...wave, shape: [2_047] },
  'two channels': { ...wave, shape: [1_024, 2] },
}
for (const [what, window] of Object.entries(badWindows)) {
  test(`a window with ${what} is refused by features and representations`, () => {
    assert.throws(() => extractFeatures(window), withCode('WINDOW_INVALID'))
    for (const name of representationNames)
      assert.throws(() => represent(window, signal(name, 2_048)), withCode('WINDOW_INVALID'), name)
  })
}

for (const name of representationNames.filter(each => each !== 'samples' && each !== 'bearing-signature')) {
  test(`${name} fills the shape with finite values of mean 0 and variance 1, whatever the level`, () => {
    const input = name === 'raw' ? signal(name, 2_048, 1) : signal(name, 256, 1)
    const values = represent(wave, input)
    assert.equal(values.length, input.shape[0])
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length
    assert.ok(Math.abs(mean) < 1e-4 && Math.abs(variance - 1) < 1e-3, `${mean} ${variance}`)
    const louder = represent({ ...wave, samples: wave.samples.map(x => 64 * x) }, input)
    assert.ok(louder.every((x, i) => Math.abs(x - values[i]!) < 1e-3))
  })

  test(`${name} of silence is all zero`, () => {
    const input = name === 'raw' ? signal(name, 2_048) : signal(name, 128)
    assert.ok(represent(windowOf(new Float32Array(2_048), 12_000, 30), input).every(x => x === 0))
  })
}

test('samples are the samples', () => {
  assert.deepEqual(represent(wave, signal('samples', 2_048, 1)), wave.samples)
})

test('raw and samples need as many samples as the network takes', () => {
  for (const name of ['raw', 'samples'])
    assert.throws(() => represent(wave, signal(name, 1_024)), withCode('WINDOW_INVALID'), name)
})

test('orders need the shaft speed', () => {
  for (const name of ['envelope-spectrum-orders', 'spectra', 'bearing-signature'])
    assert.throws(() => represent(windowOf(wave.samples), signal(name, 256)), withCode('WINDOW_INVALID'), name)
})

test('the order axis puts a modulation at its order, whatever the shaft speed', () => {
  for (const shaftHz of [15, 30, 55]) {
    const modulated = samplesOf(2_048, i => {
      const t = i / 12_000
      return (1 + Math.cos(2 * Math.PI * 4 * shaftHz * t)) * Math.sin(2 * Math.PI * 3_000 * t)
    })
    const values = represent(windowOf(modulated, 12_000, shaftHz), signal('envelope-spectrum-orders', 240))
    const order = ((values.indexOf(Math.max(...values)) + 0.5) * 12) / 240
    assert.ok(Math.abs(order - 4) < 0.3, `${order} at ${shaftHz} Hz`)
  }
})

test('a fault of any bearing has the same signature', () => {
  const bearings = [skf6205, bearingOf({ balls: 12, ballDiameter: 0.16, pitchDiameter: 1 })]
  // 128 cells of spectrum, then three harmonics of outer race, inner race and ball each.
  const places = { 'outer-race': 128, 'inner-race': 131, ball: 134 } as const
  for (const bearing of bearings)
    for (const fault of ['outer-race', 'inner-race', 'ball'] as const) {
      const simulator = new BearingSimulator({ rateHz: 12_000, shaftHz: 25, fault, bearing, seed: 1, impactG: 4 })
      const window = { samples: simulator.next(2_048), shape: [2_048], rateHz: 12_000, shaftHz: 25 }
      const firsts = Object.entries(places).map(([name, place]) => {
        const values = represent(window, signal('bearing-signature', 146), bearing)
        return { name, value: values[place]! }
      })
      const strongest = firsts.reduce((a, b) => (b.value > a.value ? b : a))
      assert.equal(strongest.name, fault)
    }
})

test('a signature does not know the level', () => {
  const values = represent(wave, signal('bearing-signature', 146))
  const louder = represent({ ...wave, samples: wave.samples.map(x => 64 * x) }, signal('bearing-signature', 146))
  assert.ok(values.every((x, i) => Number.isFinite(x) && Math.abs(x - louder[i]!) < 1e-3))
})

test('an unknown representation is named', () => {
  for (const name of ['wavelet', 'constructor'])
    assert.throws(() => represent(wave, signal(name, 256)), withCode('FEATURE_UNKNOWN'))
})
