import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { extractFeatures, Resampler, resample, resamplingRatio } from '@faultline/inference'
import { sine } from './signals.ts'

/** That of `fixtures/make-resampled.py`, bit by bit. */
function machine(rateHz: number, samples: number): Float32Array {
  let state = 1
  return Float32Array.from({ length: samples }, (_, i) => {
    const t = i / rateHz
    state = Number((1664525n * BigInt(state) + 1013904223n) % 2n ** 32n)
    const since = t % (1 / 107)
    const ring = Math.exp(-800 * since) * Math.sin(2 * Math.PI * 3000 * since)
    const tone = (hz: number) => Math.sin(2 * Math.PI * hz * t)
    return 1 + (0.3 * tone(30) + 0.1 * tone(1200) + 0.05 * tone(4100)) + ring + 0.1 * (state / 2 ** 32 - 0.5)
  })
}

interface Golden {
  fromHz: number
  toHz: number
  samples: number
  resampled: string
}

const golden = JSON.parse(readFileSync(new URL('fixtures/resampled.json', import.meta.url), 'utf8')) as Golden[]
const samplesOf = ({ resampled }: Golden): Float32Array => {
  const bytes = Buffer.from(resampled, 'base64')
  return Float32Array.from({ length: bytes.byteLength / 4 }, (_, i) => bytes.readFloatLE(4 * i))
}

for (const one of golden) {
  const { fromHz, toHz, samples } = one
  test(`${fromHz} Hz becomes ${toHz} Hz as SciPy's resample_poly makes it`, () => {
    const wanted = samplesOf(one)
    const made = resample(machine(fromHz, samples), fromHz, toHz)
    assert.equal(made.length, wanted.length)
    const worst = made.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i]!)), 0)
    assert.ok(worst < 1e-5, `${worst}`)
  })

  test(`a window of ${fromHz} Hz has the indicators of SciPy's at ${toHz} Hz within 1 %`, () => {
    const window = (signal: Float32Array) =>
      extractFeatures({ samples: signal.slice(0, 2_048), shape: [2_048], rateHz: toHz, shaftHz: 29.9 })
    const wanted = window(samplesOf(one))
    const made = window(resample(machine(fromHz, samples), fromHz, toHz))
    for (const [name, value] of Object.entries(wanted))
      assert.ok(Math.abs(made[name]! - value) <= 0.01 * Math.abs(value) + 1e-6, `${name}: ${made[name]}, ${value}`)
  })

  test(`${fromHz} Hz in blocks of any length is ${fromHz} Hz in one piece`, () => {
    const signal = machine(fromHz, samples)
    const whole = resample(signal, fromHz, toHz)
    for (const lengths of [[1], [7, 0, 640], [samples - 1, 1]]) {
      const resampler = new Resampler(fromHz, toHz)
      // Twice: what was flushed leaves nothing behind.
      for (let round = 0; round < 2; round++) {
        const parts: number[] = []
        for (let at = 0, n = 0; at < samples; n++) {
          const length = lengths[n % lengths.length]!
          parts.push(...resampler.push(signal.subarray(at, at + length)))
          at += length
        }
        parts.push(...resampler.flush())
        assert.deepEqual(Float32Array.from(parts), whole)
      }
    }
  })
}

const rmsOf = (values: Float32Array): number => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0) / values.length)

test('a tone of the pass band keeps its level and its place in time within 0.3 %, one above it is stopped', () => {
  for (const hz of [10, 120, 1_000, 2_500, 4_900]) {
    const made = resample(sine(51_200, 51_200, hz), 51_200, 12_000).subarray(1_000, 11_000)
    const wanted = sine(12_000, 12_000, hz).subarray(1_000, 11_000)
    const error = rmsOf(made.map((value, i) => value - wanted[i]!)) / rmsOf(wanted)
    assert.ok(error < 3e-3, `${hz} Hz: ${error}`)
  }
  for (const hz of [7_200, 9_000, 11_900, 20_000])
    assert.ok(rmsOf(resample(sine(51_200, 51_200, hz), 51_200, 12_000).subarray(1_000, 11_000)) < 2e-3, `${hz} Hz`)
})

test('an offset stays one, from the first sample to the last', () => {
  const made = resample(new Float32Array(500).fill(9.81), 3_200, 1_000)
  assert.ok(made.every(value => Math.abs(value - 9.81) < 0.01))
})

test('rates are brought together by small numbers, and those that cannot be are refused', () => {
  assert.deepEqual(resamplingRatio(51_200, 12_000), { up: 15, down: 64 })
  assert.deepEqual(resamplingRatio(12_000, 12_000), { up: 1, down: 1 })
  assert.deepEqual(resamplingRatio(44_100, 12_000), { up: 40, down: 147 })
  const { up, down } = resamplingRatio(25_641.0256, 12_000)
  assert.ok(Math.abs((25_641.0256 * up) / down / 12_000 - 1) <= 1e-5 && down < 1_000, `${up} / ${down}`)
  for (const [from, to] of [
    [0, 12_000],
    [Number.NaN, 12_000],
    [1e12, 1],
  ] as const)
    assert.throws(() => resamplingRatio(from, to), { code: 'CONFIG_INVALID' })
})
