import assert from 'node:assert/strict'
import { test } from 'node:test'
import { amplitudeSpectrum, bandShares, envelope, envelopeSpectrum, Random } from '@faultline/inference'
import { planOf, transformSize } from '../../inference/signal/fft.ts'
import { near, samplesOf, sine } from './signals.ts'

const peakBin = (amplitudes: Float64Array) => amplitudes.indexOf(Math.max(...amplitudes))

test('the transform agrees with the definition at every size used', () => {
  const random = new Random(3)
  for (const size of [4, 8, 16, 32, 64, 128]) {
    const input = Float64Array.from({ length: size }, () => random.normal())
    const output = new Float64Array(2 * size)
    planOf(size).fft.realTransform(output, input)
    for (let k = 0; k <= size / 2; k++) {
      let real = 0
      let imaginary = 0
      for (const [i, x] of input.entries()) {
        real += x * Math.cos((2 * Math.PI * k * i) / size)
        imaginary -= x * Math.sin((2 * Math.PI * k * i) / size)
      }
      assert.ok(Math.hypot(output[2 * k]! - real, output[2 * k + 1]! - imaginary) < 1e-9, `size ${size}, bin ${k}`)
    }
  }
})

test('the transform size is the next power of two', () => {
  assert.deepEqual([1, 4, 5, 2_048, 2_049].map(transformSize), [4, 4, 8, 2_048, 4_096])
})

test('a sine on a bin shows its amplitude there, in the unit of the samples', () => {
  const { amplitudes, binHz } = amplitudeSpectrum(sine(2_048, 8_192, 1_000, 2.5), 8_192)
  assert.equal(binHz, 4)
  assert.equal(amplitudes.length, 1_025)
  assert.equal(peakBin(amplitudes), 250)
  assert.ok(near(amplitudes[250]!, 2.5, 1e-5))
})

test('a length that is no power of two keeps amplitude and frequency', () => {
  const hz = (341 * 12_000) / 4_096
  const { amplitudes, binHz } = amplitudeSpectrum(sine(3_000, 12_000, hz, 2), 12_000)
  assert.equal(binHz, 12_000 / 4_096)
  assert.equal(peakBin(amplitudes), 341)
  assert.ok(near(amplitudes[341]!, 2, 1e-3))
})

test('a constant signal has an empty spectrum', () => {
  assert.ok(
    Math.max(
      ...amplitudeSpectrum(
        samplesOf(1_024, () => 5),
        12_000,
      ).amplitudes,
    ) < 1e-9,
  )
})

test('a tone puts its energy into its band, and the shares sum to one', () => {
  const share = (hz: number) => bandShares(amplitudeSpectrum(sine(4_096, 12_000, hz), 12_000), 8)
  assert.ok(share(20)[0]! > 0.99)
  assert.ok(share(5_000)[7]! > 0.99)
  // Eight bands over six octaves below 6 kHz: 1,000 Hz lies 2.58 octaves down, in the fifth.
  assert.ok(share(1_000)[4]! > 0.99)
  const random = new Random(4)
  const noise = bandShares(
    amplitudeSpectrum(
      samplesOf(4_096, () => random.normal()),
      12_000,
    ),
    8,
  )
  assert.ok(Math.abs(noise.reduce((sum, value) => sum + value, 0) - 1) < 1e-12)
  assert.deepEqual(bandShares(amplitudeSpectrum(new Float32Array(64), 12_000), 3), [0, 0, 0])
})

const rateHz = 8_192
/** A carrier of 2 kHz modulated at 64 Hz with depth 0.5. */
const modulated = samplesOf(
  4_096,
  i => (1 + 0.5 * Math.cos((2 * Math.PI * 64 * i) / rateHz)) * Math.sin((2 * Math.PI * 2_000 * i) / rateHz),
)

test('the envelope of a modulated tone is its modulation', () => {
  const values = envelope(modulated, rateHz)
  for (let i = 0; i < values.length; i++)
    assert.ok(Math.abs(values[i]! - (1 + 0.5 * Math.cos((2 * Math.PI * 64 * i) / rateHz))) < 1e-5, `sample ${i}`)
})

test('the envelope spectrum of a modulated tone has the squared modulation: m at f, m^2/2 at 2f', () => {
  const { amplitudes, binHz } = envelopeSpectrum(modulated, rateHz)
  assert.equal(peakBin(amplitudes) * binHz, 64)
  assert.ok(near(amplitudes[64 / binHz]!, 1, 1e-4))
  assert.ok(near(amplitudes[128 / binHz]!, 0.125, 1e-3))
})

test('a band keeps what modulates inside it and drops what modulates outside', () => {
  const other = samplesOf(
    4_096,
    i => 3 * (1 + Math.cos((2 * Math.PI * 100 * i) / rateHz)) * Math.sin((2 * Math.PI * 500 * i) / rateHz),
  )
  const both = modulated.map((x, i) => x + other[i]!)
  const { amplitudes, binHz } = envelopeSpectrum(both, rateHz, { lowHz: 1_500, highHz: 3_000 })
  assert.equal(peakBin(amplitudes) * binHz, 64)
  assert.ok(amplitudes[100 / binHz]! < 1e-3)
})

test('an envelope has as many samples as its signal, whatever their number', () => {
  for (const length of [1, 2, 3, 100, 1_000]) assert.equal(envelope(sine(length, 1_000, 50), 1_000).length, length)
})
