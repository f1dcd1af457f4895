import assert from 'node:assert/strict'
import { test } from 'node:test'
import { extractFeatures, type InputDescription, inputSize, prepare, probabilitiesOf } from '@faultline/inference'
import { withCode } from './bundles.ts'
import { near, sine, windowOf } from './signals.ts'

const features: InputDescription = {
  kind: 'features',
  samples: 512,
  rateHz: 12_000,
  features: ['kurtosis', 'rms'],
  mean: [1, 0.5],
  scale: [2, 0.1],
}
const raw: InputDescription = { kind: 'signal', samples: 512, rateHz: 12_000, representation: 'raw', shape: [512, 1] }
const window = windowOf(sine(512, 12_000, 375), 12_000, 30)

test('features are standardised in the order of the bundle and handed on whole', () => {
  const prepared = prepare(window, features)
  const { rms, kurtosis } = extractFeatures(window)
  assert.ok(near(prepared.values[0]!, (kurtosis! - 1) / 2, 1e-6))
  assert.ok(near(prepared.values[1]!, (rms! - 0.5) / 0.1, 1e-6))
  assert.deepEqual(prepared.features, extractFeatures(window))
})

test('a window without the shaft speed that the model needs is refused, not taken for normal', () => {
  const orders = { ...features, features: ['kurtosis', 'bpfo1'] }
  const still = windowOf(window.samples)
  assert.throws(() => prepare(still, orders), withCode('WINDOW_INVALID', /bpfo1.*shaft speed/))
  assert.ok(prepare(window, orders).values.every(Number.isFinite))
  prepare(still, features)
  const unknown = { ...features, features: ['kurtosis', 'bpfo9'] }
  assert.throws(() => prepare(window, unknown), withCode('FEATURE_UNKNOWN', /bpfo9/))
})

test('a signal becomes its representation, without features', () => {
  const prepared = prepare(window, raw)
  assert.equal(prepared.values.length, inputSize(raw))
  assert.equal(prepared.features, undefined)
})

test('a window of another length or rate is refused, a crystal a little off is not', () => {
  for (const input of [features, raw]) {
    assert.throws(() => prepare(windowOf(sine(511, 12_000, 100)), input), withCode('WINDOW_INVALID', /512.*511/))
    assert.throws(() => prepare(windowOf(window.samples, 48_000), input), withCode('WINDOW_INVALID', /48000/))
    assert.throws(() => prepare(windowOf(window.samples, Number.NaN), input), withCode('WINDOW_INVALID'))
    prepare(windowOf(window.samples, 12_030), input)
  }
})

const image = (layout: 'hwc' | 'chw'): InputDescription => ({
  kind: 'image',
  shape: layout === 'hwc' ? [1, 2, 3] : [3, 1, 2],
  layout,
  mean: [0, 0.5, 1],
  std: [1, 0.5, 0.1],
})
const picture = { samples: Float32Array.of(0, 255, 255, 51, 0, 0), shape: [1, 2, 3], rateHz: 0 }

test('pixels are scaled, normalised per channel and laid out as the network takes them', () => {
  const close = (values: Float32Array, expected: number[]) =>
    assert.ok(expected.every((x, i) => Math.abs(values[i]! - x) < 1e-6) && values.length === 6, String(values))
  close(prepare(picture, image('hwc')).values, [0, 1, 0, 0.2, -1, -10])
  close(prepare(picture, image('chw')).values, [0, 0.2, 1, -1, 0, -10])
})

test('pixels stay as they are, or between -1 and 1, for networks that want them so', () => {
  const ones = { mean: [0, 0, 0], std: [1, 1, 1] }
  const untouched = prepare(picture, { ...image('hwc'), ...ones, scale: 1 } as InputDescription)
  assert.deepEqual([...untouched.values], [...picture.samples])
  const symmetric = prepare(picture, {
    ...image('hwc'),
    ...ones,
    mean: [1, 1, 1],
    scale: 1 / 127.5,
  } as InputDescription)
  assert.ok([-1, 1, 1, -0.6, -1, -1].every((x, i) => near(symmetric.values[i]!, x, 1e-6)))
})

test('a signal can stay as it is, or be put on a fixed scale', () => {
  const untouched: InputDescription = { ...raw, representation: 'samples' }
  assert.deepEqual(prepare(window, untouched).values, window.samples)
  const scaled = prepare(window, { ...untouched, mean: 0.5, scale: 2 }).values
  assert.ok(scaled.every((x, i) => near(x, (window.samples[i]! - 0.5) / 2, 1e-6)))
  assert.throws(() => prepare(window, { ...untouched, shape: [256] }), withCode('WINDOW_INVALID', /256.*512/))
})

test('an image of another shape is refused', () => {
  for (const shape of [[2, 1, 3], [6], [1, 6]])
    assert.throws(() => prepare({ ...picture, shape }, image('hwc')), withCode('WINDOW_INVALID'))
})

const calibrated = (output: 'probabilities' | 'logits', temperature: number) => ({
  output,
  calibration: { temperature },
})

test('logits become probabilities through softmax over the temperature', () => {
  const cold = probabilitiesOf([2, 0, -1], calibrated('logits', 1))
  const sum = Math.exp(2) + 1 + Math.exp(-1)
  assert.ok(cold.every((p, i) => near(p, [Math.exp(2), 1, Math.exp(-1)][i]! / sum, 1e-12)))
  const warm = probabilitiesOf([2, 0, -1], calibrated('logits', 4))
  assert.ok(warm[0]! < cold[0]! && warm[2]! > cold[2]!)
  assert.ok(probabilitiesOf([1e4, 0], calibrated('logits', 1)).every(Number.isFinite))
})

test('a temperature does to probabilities what it does to the logits behind them', () => {
  const logits = [1.5, 0.2, -2]
  const probabilities = probabilitiesOf(logits, calibrated('logits', 1))
  const expected = probabilitiesOf(logits, calibrated('logits', 2.5))
  const actual = probabilitiesOf(probabilities, calibrated('probabilities', 2.5))
  assert.ok(actual.every((p, i) => near(p, expected[i]!, 1e-9)))
  assert.deepEqual(probabilitiesOf([1, 0], calibrated('probabilities', 2)), [1, 0])
  assert.deepEqual(probabilitiesOf([0.7, 0.3], calibrated('probabilities', 1)), [0.7, 0.3])
})

test('an output that is not finite stays as it is, for the policy to see', () => {
  for (const output of ['probabilities', 'logits'] as const) {
    const answer = probabilitiesOf([Number.NaN, 1], calibrated(output, 2))
    assert.ok(Number.isNaN(answer[0]))
  }
})
