import { EventEmitter, once } from 'node:events'
import { classificationOf, type PreparedInput, type Window } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'

/**
 * Two small models that need no engine. A window's first sample is how probable a fault is; some values make a model
 * misbehave.
 */
export const sample = {
  /** Sure. */
  normal: 0.05,
  fault: 0.95,
  /** A fault the local model takes for normal, without being sure. */
  doubtful: 0.4,
  /** The local model answers with NaN. */
  nan: 2,
  /** The local model throws. */
  broken: 3,
  /** The server model refuses the window. */
  unfit: 4,
  /** The server model's whole batch fails. */
  poison: 5,
} as const

export const tinyTask = 'bearing-fault'
export const tinySamples = 64
export const tinyRateHz = 1_000
const classes = ['normal', 'fault']

export function tinyWindow(first: number): Window {
  const samples = new Float32Array(tinySamples)
  samples[0] = first
  return { samples, shape: [tinySamples], rateHz: tinyRateHz }
}

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`

const near = (value: number, wanted: number): boolean => Math.abs(value - wanted) < 0.01

export const tinyLocalModel = {
  model: { name: 'tiny-local', version: '1.0.0', digest: digest('1') },
  classes,
  task: tinyTask,
  engine: 'none',
  async classify(windows: readonly Window[]) {
    return windows.map(({ samples }) => {
      const p = samples[0]!
      if (near(p, sample.broken)) throw new Error('the engine has failed')
      const fault = near(p, sample.nan) ? Number.NaN : Math.min(1, p)
      return { classification: classificationOf(classes, [1 - fault, fault]) }
    })
  },
}

/** Right about every window: a fault from 0.3. Counts its batches; waits where a test holds it. */
export class TinyServerModel {
  readonly model = { name: 'tiny-server', version: '1.0.0', digest: digest('2') }
  readonly classes = classes
  readonly task = tinyTask
  readonly engine = 'none'
  readonly batches: number[] = []
  private gate: Promise<void> = Promise.resolve()
  private readonly events = new EventEmitter()

  /** Batches wait from now on, until the returned function is called. */
  hold(): () => void {
    let release = () => {}
    this.gate = new Promise(resolve => {
      release = resolve
    })
    return release
  }

  /** Resolves once a batch has reached the model. */
  async working(): Promise<void> {
    if (this.batches.length === 0) await once(this.events, 'batch', { signal: AbortSignal.timeout(20_000) })
  }

  prepare({ samples, shape }: Window): PreparedInput {
    if (shape.length !== 1 || samples.length !== tinySamples || near(samples[0]!, sample.unfit)) {
      throw new FaultlineError('WINDOW_INVALID', 'the window does not fit')
    }
    return { values: samples }
  }

  async classifyPrepared(inputs: readonly PreparedInput[]) {
    this.batches.push(inputs.length)
    this.events.emit('batch')
    await this.gate
    if (inputs.some(({ values }) => near(values[0]!, sample.poison))) throw new Error('the batch has failed')
    return inputs.map(({ values }) => ({
      classification: classificationOf(classes, values[0]! > 0.3 ? [0.01, 0.99] : [0.99, 0.01]),
    }))
  }
}
