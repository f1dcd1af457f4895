import { FaultlineError } from '@faultline/protocol'

/** Kaiser's beta of the filter, and its length each side in samples of the slower rate: SciPy's `resample_poly`. */
const BETA = 5
const HALF_PERIODS = 10
/** Rates that share no small factor are brought together this closely, far within what crystals differ. */
const RATE_ERROR = 1e-5
/** A filter has a set of taps for each step of `up`. */
const MAX_UP = 4_096

/** By which whole numbers a signal is raised and thinned out. */
export interface ResamplingRatio {
  up: number
  down: number
}

/**
 * The smallest whole numbers that bring one rate to another within 0.001 %: 15 and 64 from 51.2 kHz to 12 kHz.
 * Throws `CONFIG_INVALID` for rates that are not positive, or are too far apart for such a pair.
 */
export function resamplingRatio(fromHz: number, toHz: number): ResamplingRatio {
  const wanted = toHz / fromHz
  if (!(fromHz > 0 && toHz > 0 && Number.isFinite(wanted)))
    throw new FaultlineError('CONFIG_INVALID', `a signal cannot be brought from ${fromHz} Hz to ${toHz} Hz`)
  // Continued fraction: each convergent is the closest of its size.
  let [up, down, upBefore, downBefore] = [Math.floor(wanted), 1, 1, 0]
  for (let rest = wanted - up; up === 0 || Math.abs(up / down - wanted) > RATE_ERROR * wanted; ) {
    const term = Math.floor(1 / rest)
    rest = 1 / rest - term
    ;[up, upBefore] = [term * up + upBefore, up]
    ;[down, downBefore] = [term * down + downBefore, down]
    if (up > MAX_UP || down > MAX_UP)
      throw new FaultlineError('CONFIG_INVALID', `${fromHz} Hz is too far from ${toHz} Hz to be converted`)
  }
  return { up, down }
}

/**
 * Brings a signal to another sampling rate, block by block: a polyphase FIR filter that keeps what lies below half the
 * slower rate and stops what would be folded into it. The taps are those of SciPy's `resample_poly`, and so is the result, with
 * the edges repeated (`padtype='edge'`): zeros there would make a step of an offset such as gravity. The outputs of
 * all blocks, then of `flush`, are those of the signal in one piece, whatever the blocks.
 *
 * Packages of the registry convert audio and cannot be held to a reference: libsamplerate's WebAssembly port
 * starts asynchronously and weighs more than a megabyte, the others have a fixed linear or cubic kernel.
 */
export class Resampler {
  private readonly up: number
  private readonly down: number
  private readonly half: number
  /** `branches[p][k]` weighs the sample `k` before the newest for outputs of phase `p`. */
  private readonly branches: readonly Float64Array[]
  /** Samples before the next block that its outputs need. */
  private history: Float32Array
  private started = false
  /** Place of the next output, and of the first sample after the history, in steps of the raised rate and in samples. */
  private outputs = 0
  private taken = 0

  /** Throws as `resamplingRatio` does. */
  constructor(fromHz: number, toHz: number) {
    const { up, down } = resamplingRatio(fromHz, toHz)
    this.up = up
    this.down = down
    this.half = HALF_PERIODS * Math.max(up, down)
    this.branches = branchesOf(up, down, this.half)
    this.history = new Float32Array(this.branches[0]!.length)
  }

  /** The outputs that this block completes; those whose filter reaches beyond it come with the next. */
  push(block: Float32Array): Float32Array {
    if (block.length === 0) return new Float32Array(0)
    if (!this.started) this.history.fill(block[0]!)
    this.started = true
    return this.run(block)
  }

  /** The last outputs, as if the signal stayed at its last sample; begins anew. */
  flush(): Float32Array {
    const outputs = Math.ceil((this.taken * this.up) / this.down)
    const missing = outputs - this.outputs
    const edge = new Float32Array(Math.ceil(this.half / this.up) + 1).fill(this.history.at(-1)!)
    const last = this.run(edge).slice(0, missing)
    this.reset()
    return last
  }

  /** Forgets what came before: the next block is the begin of a signal. */
  reset(): void {
    this.started = false
    this.outputs = 0
    this.taken = 0
  }

  private run(block: Float32Array): Float32Array {
    const { up, down, half, branches, history, taken } = this
    const signal = new Float32Array(history.length + block.length)
    signal.set(history)
    signal.set(block, history.length)
    const end = taken + block.length
    const results: number[] = []
    for (; ; this.outputs++) {
      const step = this.outputs * down + half
      const newest = Math.floor(step / up)
      if (newest >= end) break
      const taps = branches[step % up]!
      const at = newest - taken + history.length
      let sum = 0
      for (let k = 0; k < taps.length; k++) sum += taps[k]! * signal[at - k]!
      results.push(sum)
    }
    this.taken = end
    this.history = signal.slice(signal.length - history.length)
    return Float32Array.from(results)
  }
}

/** A whole signal at another rate, `ceil(samples x toHz / fromHz)` long. Throws as `resamplingRatio` does. */
export function resample(samples: Float32Array, fromHz: number, toHz: number): Float32Array {
  const resampler = new Resampler(fromHz, toHz)
  const body = resampler.push(samples)
  const tail = resampler.flush()
  const whole = new Float32Array(body.length + tail.length)
  whole.set(body)
  whole.set(tail, body.length)
  return whole
}

/** The low-pass filter at the raised rate, dealt out to its phases. */
function branchesOf(up: number, down: number, half: number): Float64Array[] {
  const slower = Math.max(up, down)
  const taps = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const x = (i - half) / slower
    return sinc(x) * bessel(BETA * Math.sqrt(1 - ((i - half) / half) ** 2))
  })
  const gain = up / taps.reduce((sum, tap) => sum + tap, 0)
  const length = Math.ceil(taps.length / up)
  return Array.from({ length: up }, (_, phase) =>
    Float64Array.from({ length }, (_, k) => (taps[phase + k * up] ?? 0) * gain),
  )
}

const sinc = (x: number): number => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x))

/** The modified Bessel function of the first kind and order 0, by its power series. */
function bessel(x: number): number {
  let sum = 1
  for (let term = 1, k = 1; term > sum * 1e-17; k++) {
    term *= (x / (2 * k)) ** 2
    sum += term
  }
  return sum
}
