import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random, timeFeatures } from '@faultline/inference'
import { near, samplesOf, sine } from './signals.ts'

test('a sine of amplitude A has RMS A/sqrt(2), crest factor sqrt(2), kurtosis 1.5 and no skewness', () => {
  const features = timeFeatures(sine(12_000, 12_000, 100, 3))
  assert.ok(near(features.rms, 3 / Math.SQRT2, 1e-6))
  assert.ok(near(features.meanAbs, 6 / Math.PI, 1e-3))
  assert.ok(near(features.peak, 3, 1e-6))
  assert.ok(near(features.crestFactor, Math.SQRT2, 1e-6))
  assert.ok(near(features.kurtosis, 1.5, 1e-6))
  assert.ok(Math.abs(features.skewness) < 1e-6)
})

test('Gaussian noise has kurtosis 3 and no skewness', () => {
  const random = new Random(1)
  const features = timeFeatures(samplesOf(200_000, () => 0.2 * random.normal()))
  assert.ok(near(features.rms, 0.2, 0.01))
  assert.ok(near(features.kurtosis, 3, 0.02))
  assert.ok(Math.abs(features.skewness) < 0.02)
})

test('an exponential distribution has skewness 2 and kurtosis 9', () => {
  const random = new Random(2)
  const features = timeFeatures(samplesOf(400_000, () => -Math.log(1 - random.uniform())))
  assert.ok(near(features.skewness, 2, 0.03))
  assert.ok(near(features.kurtosis, 9, 0.08))
})

test('the offset of the sensor changes nothing', () => {
  const wave = sine(4_096, 12_000, 300)
  const plain = timeFeatures(wave)
  const shifted = timeFeatures(wave.map(x => x + 10))
  for (const [name, value] of Object.entries(plain))
    assert.ok(Math.abs(shifted[name as keyof typeof shifted] - value) < 1e-4, name)
})

test('a constant window has no level and no shape', () => {
  for (const level of [0, 0.1, -3]) {
    const { rms, crestFactor, kurtosis, skewness } = timeFeatures(samplesOf(1_000, () => level))
    assert.ok(rms < 1e-6)
    assert.deepEqual([crestFactor, kurtosis, skewness], [0, 0, 0])
  }
})
