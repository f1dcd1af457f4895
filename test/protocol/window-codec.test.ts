import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type DecodedWindow,
  decodePayload,
  decodeWindow,
  encodePayload,
  encodeWindow,
  examples,
  sampleTypes,
  type WireWindow,
} from '@faultline/protocol'
import fc from 'fast-check'

const window = (samples: ArrayLike<number>, shape: number[] = [samples.length]): DecodedWindow => ({
  samples: Float32Array.from(samples),
  shape,
  rateHz: 12_000,
})

const finite = fc.float({ noNaN: true, noDefaultInfinity: true })
const signal = fc.array(finite, { minLength: 1, maxLength: 200 })

test('i16 loses at most half a step of its scale', () => {
  fc.assert(
    fc.property(signal, samples => {
      const sent = window(samples)
      const wire = encodeWindow(sent, 'i16')
      const { samples: received } = decodeWindow(wire)
      const peak = Math.max(...sent.samples.map(Math.abs))
      sent.samples.forEach((sample, i) => {
        // Storing the result as a 32-bit float may round once more, by at most 2^-24 of the sample.
        const bound = wire.scale / 2 + peak * 2 ** -24 + 2 ** -149
        assert.ok(Math.abs(received[i]! - sample) <= bound, `${sample} came back as ${received[i]}`)
      })
    }),
  )
})

test('a signal travels as 16-bit integers and an image as its bytes unless asked otherwise', () => {
  assert.equal(encodeWindow(window([1, 2])).dtype, 'i16')
  const image = { samples: Float32Array.of(0, 128, 255), shape: [1, 1, 3], rateHz: 0 }
  assert.equal(encodeWindow(image).dtype, 'u8')
  assert.deepEqual(decodeWindow(encodeWindow(image)), image)
})

test('i16 keeps the peak and the zeros', () => {
  const { samples } = decodeWindow(encodeWindow(window([0, -3.7, 1.2, 0, 3.1])))
  assert.equal(samples[1], Math.fround(-3.7))
  assert.equal(samples[0], 0)
  assert.equal(samples[3], 0)
})

test('f32 keeps every bit', () => {
  fc.assert(
    fc.property(signal, samples => {
      const sent = window(samples)
      assert.deepEqual(decodeWindow(encodeWindow(sent, 'f32')), sent)
    }),
  )
})

test('u8 keeps every whole number it can hold and refuses the others', () => {
  const all = window(Array.from({ length: 256 }, (_, i) => i))
  assert.deepEqual(decodeWindow(encodeWindow(all, 'u8')), all)
  for (const sample of [-1, -0.6, 255.5, 256, 1e9]) {
    assert.throws(() => encodeWindow(window([0, sample]), 'u8'), { code: 'WINDOW_INVALID' }, String(sample))
  }
})

test('a window of zeros comes back as zeros in every type', () => {
  for (const dtype of sampleTypes) {
    const zeros = window(new Float32Array(2_048))
    assert.deepEqual(decodeWindow(encodeWindow(zeros, dtype)), zeros, dtype)
  }
})

test('a sample that is not finite is refused on both ways', () => {
  for (const dtype of sampleTypes) {
    for (const sample of [Number.NaN, Infinity, -Infinity]) {
      assert.throws(() => encodeWindow(window([1, sample]), dtype), { code: 'WINDOW_INVALID' })
    }
  }
  const bytes = new Uint8Array(Float32Array.of(1, Number.NaN).buffer)
  assert.throws(() => decodeWindow({ dtype: 'f32', shape: [2], scale: 1, rateHz: 1, bytes }), {
    code: 'WINDOW_INVALID',
  })
  const huge = { dtype: 'i16', shape: [1], scale: 1e300, rateHz: 1, bytes: Uint8Array.of(1, 1) } satisfies WireWindow
  assert.throws(() => decodeWindow(huge), { code: 'WINDOW_INVALID' })
})

test('bytes that do not fill the shape are refused on both ways', () => {
  const wire = encodeWindow(window([1, 2, 3, 4, 5, 6], [2, 3]))
  assert.deepEqual(decodeWindow(wire).shape, [2, 3])
  for (const shape of [[5], [7], [3, 3], [2 ** 52, 2 ** 52, 2 ** 52]]) {
    assert.throws(() => decodeWindow({ ...wire, shape }), { code: 'WINDOW_INVALID' }, String(shape))
  }
  assert.throws(() => decodeWindow({ ...wire, bytes: wire.bytes.subarray(1) }), { code: 'WINDOW_INVALID' })
  assert.throws(() => decodeWindow({ ...wire, dtype: 'f32' }), { code: 'WINDOW_INVALID' })
  assert.throws(() => encodeWindow(window([1, 2, 3], [2, 2])), { code: 'WINDOW_INVALID' })
})

test('samples are little-endian', () => {
  const { bytes } = encodeWindow(window([1, -1]), 'i16')
  assert.deepEqual([...bytes], [0xff, 0x7f, 0x01, 0x80])
  assert.deepEqual([...encodeWindow(window([1]), 'f32').bytes], [0, 0, 0x80, 0x3f])
})

test('bytes that start anywhere in their buffer decode', () => {
  const wire = encodeWindow(window([0.5, -0.25, 1]), 'f32')
  const shifted = new Uint8Array(wire.bytes.length + 3)
  shifted.set(wire.bytes, 3)
  assert.deepEqual(decodeWindow({ ...wire, bytes: shifted.subarray(3) }), decodeWindow(wire))
})

test('an escalation of 2,048 samples adds less than 400 bytes to them', () => {
  const samples = Array.from({ length: 2_048 }, (_, i) => Math.sin(i * 0.7) * 0.3)
  const payload = { ...examples.escalation.payload, window: encodeWindow(window(samples)) }
  const encoded = encodePayload('escalation', payload)
  assert.ok(encoded.byteLength < 2 * 2_048 + 400, `${encoded.byteLength} bytes`)
  assert.deepEqual(decodeWindow(decodePayload('escalation', encoded).window), decodeWindow(payload.window))
})
