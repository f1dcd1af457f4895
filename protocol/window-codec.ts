import { FaultlineError } from './errors.ts'
import { type SampleType, sampleBytes, type WireWindow } from './payloads/escalation.ts'

/** Samples in physical units with their shape, as the models take them. */
export interface DecodedWindow {
  samples: Float32Array
  shape: readonly number[]
  rateHz: number
}

const largest: Record<Exclude<SampleType, 'f32'>, number> = { i16: 32_767, u8: 255 }

/** What a window travels as unless asked otherwise: a signal as scaled 16-bit integers, an image (rate 0) as its bytes. */
export function sampleTypeOf({ rateHz }: DecodedWindow): SampleType {
  return rateHz === 0 ? 'u8' : 'i16'
}

/**
 * Packs samples for the wire. `i16` scales the largest magnitude to full range (error <= half a step, 1/65534 of the
 * peak); `u8` rounds to the whole numbers 0..255; `f32` keeps every bit. Throws `WINDOW_INVALID` for samples that are not
 * finite, do not fit `u8`, or do not fill the shape.
 */
export function encodeWindow(window: DecodedWindow, dtype: SampleType = sampleTypeOf(window)): WireWindow {
  const { samples, shape, rateHz } = window
  if (samples.length !== sizeOf(shape)) {
    throw new FaultlineError('WINDOW_INVALID', `${samples.length} samples do not fill the shape [${shape.join(', ')}]`)
  }
  const bytes = new Uint8Array(samples.length * sampleBytes[dtype])
  const view = new DataView(bytes.buffer)
  let peak = 0
  for (const sample of samples) {
    if (!Number.isFinite(sample))
      throw new FaultlineError('WINDOW_INVALID', 'a window holds a sample that is not finite')
    peak = Math.max(peak, Math.abs(sample))
  }
  const scale = dtype === 'i16' && peak > 0 ? peak / largest.i16 : 1
  samples.forEach((sample, i) => {
    if (dtype === 'f32') view.setFloat32(i * 4, sample, true)
    else if (dtype === 'i16') view.setInt16(i * 2, Math.round(sample / scale), true)
    else view.setUint8(i, toUint8(sample, i))
  })
  return { dtype, shape: [...shape], scale, rateHz, bytes }
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((product, size) => product * size, 1)

function toUint8(sample: number, index: number): number {
  const stored = Math.round(sample)
  if (stored >= 0 && stored <= largest.u8) return stored
  throw new FaultlineError('WINDOW_INVALID', `sample ${index} of a window does not fit u8: ${sample}`)
}

/** Unpacks samples from the wire. Throws `WINDOW_INVALID` when bytes, shape and type do not agree or a value is not finite. */
export function decodeWindow(window: WireWindow): DecodedWindow {
  const { dtype, shape, scale, rateHz, bytes } = window
  const length = sizeOf(shape)
  if (bytes.byteLength !== length * sampleBytes[dtype]) {
    throw new FaultlineError(
      'WINDOW_INVALID',
      `a window of shape [${shape.join(', ')}] as ${dtype} takes ${length * sampleBytes[dtype]} bytes, not ${bytes.byteLength}`,
    )
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const samples = new Float32Array(length)
  for (let i = 0; i < length; i++) {
    const stored =
      dtype === 'f32' ? view.getFloat32(i * 4, true) : dtype === 'i16' ? view.getInt16(i * 2, true) : view.getUint8(i)
    samples[i] = stored * scale
    if (!Number.isFinite(samples[i]!))
      throw new FaultlineError('WINDOW_INVALID', `sample ${i} of a window is not finite`)
  }
  return { samples, shape, rateHz }
}
