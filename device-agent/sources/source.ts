import type { Window } from '@faultline/inference'

export interface SourceWindow {
  window: Window
  /** When the window ended. */
  at: Date
  /** Samples are missing in it, as far as the source knows. */
  gap?: true
  /** What is truly the matter with the machine; only simulations and labelled recordings know. */
  truth?: string
}

/** Where windows come from: a sensor, a recording, a simulation. Constructing one has no effect. */
export interface Source {
  /** Sampling rate in Hz; 0 of images. */
  readonly rateHz: number
  /** Values in every window: samples, or those of an image. */
  readonly windowSamples: number
  /** From one window to the next, in ms. */
  readonly intervalMs: number
  /** Windows that were due and not taken, because the one before was not done with. They never pile up. */
  readonly overruns: number
  /** Messages that came where samples were expected, and held none; absent where there are no messages. */
  readonly foreign?: number | undefined
  /** Windows from now on, until the signal aborts or the source has no more. Never throws because of the signal. */
  windows(signal: AbortSignal): AsyncIterable<SourceWindow>
}
