import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { EngineName, Network } from './engine.ts'

export interface RawNetwork {
  engine: EngineName
  /** Values in one input. */
  inputSize: number
  run(inputs: Float32Array, batch: number): Promise<Float32Array>
  release(): Promise<void>
}

/** Runs the inputs of a batch one after the other, for a network made for a batch of one. */
export function runOneByOne(run: RawNetwork['run'], inputSize: number): RawNetwork['run'] {
  return async (inputs, batch) => {
    const rows: number[] = []
    for (let i = 0; i < batch; i++) rows.push(...(await run(inputs.subarray(i * inputSize, (i + 1) * inputSize), 1)))
    return Float32Array.from(rows)
  }
}

/**
 * The first runs allocate and compile, which three are enough for; the code around a small network is interpreted for
 * hundreds more, which take no longer than this together.
 */
const WARM_UPS = 3
const WARM_UP_MS = 50

/**
 * What every engine's network has to do beside running: refuse a batch of the wrong size, refuse to run once disposed,
 * and free native memory only when no run is using it.
 */
export class GuardedNetwork implements Network {
  readonly engine: EngineName
  readonly #raw: RawNetwork
  readonly #running = new Set<Promise<unknown>>()
  #disposal: Promise<void> | undefined

  /**
   * Runs the network on zeros for a moment, so that the first real window does not pay for what happens only once.
   * Throws `ENGINE_LOAD_FAILED`, and releases it, where it does not run.
   */
  static async warm(raw: RawNetwork): Promise<GuardedNetwork> {
    const network = new GuardedNetwork(raw)
    try {
      const begun = performance.now()
      for (let i = 0; i < WARM_UPS || performance.now() - begun < WARM_UP_MS; i++)
        await network.run(new Float32Array(raw.inputSize), 1)
    } catch (cause) {
      await network.dispose()
      throw toFaultlineError(cause, 'ENGINE_LOAD_FAILED', raw.engine)
    }
    return network
  }

  private constructor(raw: RawNetwork) {
    this.#raw = raw
    this.engine = raw.engine
  }

  async run(inputs: Float32Array, batch: number): Promise<Float32Array> {
    if (this.#disposal) throw new FaultlineError('INTERNAL', `a disposed ${this.engine} network was run`)
    const { inputSize } = this.#raw
    if (!Number.isInteger(batch) || batch < 1 || inputs.length !== batch * inputSize)
      throw new FaultlineError(
        'WINDOW_INVALID',
        `a batch of ${batch} takes ${batch} x ${inputSize} values, not ${inputs.length}`,
      )
    const run = this.#raw.run(inputs, batch)
    this.#running.add(run)
    try {
      return await run
    } finally {
      this.#running.delete(run)
    }
  }

  dispose(): Promise<void> {
    this.#disposal ??= Promise.allSettled(this.#running).then(() => this.#raw.release())
    return this.#disposal
  }
}
