import type { Bearing } from './signal/bearing.ts'

/**
 * One block of consecutive samples from a measurement point, or one image: the unit of every decision.
 */
export interface Window {
  /** Samples in physical units (g for acceleration; 0..255 for images), flattened row-major. */
  samples: Float32Array
  /** `[samples]` for a signal, `[height, width, channels]` for an image. */
  shape: readonly number[]
  /** Sampling rate in Hz; 0 for an image. */
  rateHz: number
  /** Shaft speed in Hz (revolutions per second) while the window was taken, when it is known. */
  shaftHz?: number
  /** The bearing it was taken at, where it is known; models assume one of their own otherwise. */
  bearing?: Bearing
}
