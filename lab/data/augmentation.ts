import { type Bearing, bearingOf, type Random, skf6205 } from '@faultline/inference'
import { type LabelledWindow, rms } from './windows.ts'

/** A machine is made to turn up to this much faster or slower than it did. */
const STRETCH = 1.25
/** Samples that interpolating takes beyond the last one. */
const MARGIN = 3

/** Samples a window needs for `augmented` to make `samples` of it. */
export function drawnSamples(samples: number): number {
  return Math.ceil(samples * STRETCH) + MARGIN
}

/**
 * What a sensor elsewhere would have made of the same fault. Every window gets another gain and a speed reading a little
 * off, and half of them white noise 0 to 30 dB below them. Half of them besides come from another place: turning faster or slower,
 * heard through another structure, in another bearing whose damaged part strikes at the same rate. The class stays true:
 * it depends on the orders alone.
 * @param labelled `drawnSamples(samples)` long.
 */
export function augmented(labelled: LabelledWindow, samples: number, random: Random): LabelledWindow {
  const { window } = labelled
  let moved: LabelledWindow = {
    ...labelled,
    window: { ...window, samples: window.samples.slice(0, samples), shape: [samples] },
  }
  if (random.uniform() < 0.5) {
    const factor = STRETCH ** between(random, -1, 1)
    const faster = stretched(window.samples, samples, factor)
    moved = {
      ...labelled,
      window: {
        ...window,
        samples: heardElsewhere(faster, random),
        shape: [samples],
        shaftHz: window.shaftHz && window.shaftHz * factor,
      },
      bearing: likeBearing(labelled.class, labelled.bearing ?? skf6205, random),
    }
  }
  const gain = 2 ** between(random, -1, 1)
  const noise = random.uniform() < 0.5 ? 0 : rms(moved.window.samples) * 10 ** (-between(random, 0, 30) / 20)
  const noisy = moved.window.samples.map(x => gain * (x + noise * random.normal()))
  const shaftHz = moved.window.shaftHz && moved.window.shaftHz * (1 + 0.01 * between(random, -1, 1))
  return { ...moved, window: { ...moved.window, samples: noisy, shaftHz } }
}

/** A deep-groove ball bearing of any common size: its balls, and how thick they are for their circle. */
export function anyBearing(random: Random): Bearing {
  return bearingOf({
    balls: 6 + Math.floor(8 * random.uniform()),
    ballDiameter: between(random, 0.14, 0.3),
    pitchDiameter: 1,
  })
}

/** Another bearing in which a fault of this class strikes at the same orders. */
function likeBearing(name: string, own: Bearing, random: Random): Bearing {
  const other = anyBearing(random)
  if (name === 'outer-race') return { ...other, bpfo: own.bpfo }
  if (name === 'inner-race') return { ...other, bpfi: own.bpfi }
  if (name === 'ball') return { ...other, bsf: own.bsf, ftf: own.ftf }
  return other
}

/** The signal of a machine that turns `factor` times as fast, by cubic interpolation (Catmull-Rom). */
function stretched(samples: Float32Array, length: number, factor: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => {
    const at = 1 + i * factor
    const k = Math.floor(at)
    const t = at - k
    const [a, b, c, d] = [samples[k - 1]!, samples[k]!, samples[k + 1]!, samples[k + 2]!]
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
  })
}

const RESONANCES = 3
const GAIN_DB = 12
/** Where they may lie, as shares of the sampling rate. */
const LOWEST = 1 / 60
const HIGHEST = 29 / 60

/**
 * The signal through another structure: three resonances or antiresonances of up to 12 dB anywhere below half the sampling
 * rate (peaking filters of Bristow-Johnson's "Audio EQ Cookbook").
 */
function heardElsewhere(samples: Float32Array, random: Random): Float32Array {
  const values = Float64Array.from(samples)
  for (let k = 0; k < RESONANCES; k++) {
    const angle = 2 * Math.PI * LOWEST * (HIGHEST / LOWEST) ** random.uniform()
    const amplitude = 10 ** (between(random, -GAIN_DB, GAIN_DB) / 40)
    const alpha = Math.sin(angle) / (2 * between(random, 0.5, 3))
    const a0 = 1 + alpha / amplitude
    const [b0, b1, b2] = [(1 + alpha * amplitude) / a0, (-2 * Math.cos(angle)) / a0, (1 - alpha * amplitude) / a0]
    const a2 = (1 - alpha / amplitude) / a0
    let [x1, x2, y1, y2] = [0, 0, 0, 0]
    for (let i = 0; i < values.length; i++) {
      const x = values[i]!
      const y = b0 * x + b1 * (x1 - y1) + b2 * x2 - a2 * y2
      x2 = x1
      x1 = x
      y2 = y1
      y1 = y
      values[i] = y
    }
  }
  return Float32Array.from(values)
}

/** Uniform between the two. */
export function between(random: Random, low: number, high: number): number {
  return low + (high - low) * random.uniform()
}
