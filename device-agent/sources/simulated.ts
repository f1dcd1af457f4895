import { type BearingClass, BearingSimulator, growing } from '@faultline/inference'
import { Pacer } from './pacer.ts'
import type { Source, SourceWindow } from './source.ts'

export interface SimulatedOptions {
  rateHz: number
  windowSamples: number
  /** Machine time from one window to the next. */
  intervalMs: number
  /** Machine time relative to real time. */
  speed?: number
  /** Mean shaft speed in Hz. */
  shaftHz: number
  fault: BearingClass
  /** Machine time when the fault begins, and how long it takes to grow. Without them it is there in full from the start. */
  faultAfterS?: number
  growthS?: number
  seed: number
}

/** A simulated machine: sound until its fault begins, then worse and worse. */
export class SimulatedSource implements Source {
  readonly rateHz: number
  readonly windowSamples: number
  private readonly options: SimulatedOptions
  private readonly pacer: Pacer

  constructor(options: SimulatedOptions) {
    this.options = options
    this.rateHz = options.rateHz
    this.windowSamples = options.windowSamples
    this.pacer = new Pacer(options.intervalMs / (options.speed ?? 1))
  }

  get intervalMs(): number {
    return this.pacer.intervalMs
  }

  get overruns(): number {
    return this.pacer.overruns
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    const { rateHz, windowSamples, intervalMs, shaftHz, fault, faultAfterS = 0, growthS = 0, seed } = this.options
    const severity = growing({ afterS: faultAfterS, durationS: growthS })
    // The simulator knows only the time it has simulated; between two windows the machine goes on unheard.
    let machineS = 0
    const simulator = new BearingSimulator({ rateHz, shaftHz, fault, seed, severity: () => severity(machineS) })
    for await (const { index, at } of this.pacer.ticks(signal)) {
      machineS = (index * intervalMs) / 1_000
      const samples = simulator.next(windowSamples)
      yield {
        window: { samples, shape: [windowSamples], rateHz, shaftHz: simulator.shaftHz },
        at,
        truth: simulator.severity > 0 ? fault : 'normal',
      }
    }
  }
}
