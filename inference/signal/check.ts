import { FaultlineError } from '@faultline/protocol'
import type { Window } from '../window.ts'

/**
 * Throws `WINDOW_INVALID` unless the window has samples, as many as its shape says, all finite, and a shaft speed that
 * is absent or positive.
 */
export function checkWindow(window: Window): void {
  const { samples, shape, shaftHz } = window
  if (samples.length === 0) throw new FaultlineError('WINDOW_INVALID', 'the window is empty')
  const size = shape.reduce((product, extent) => product * extent, 1)
  if (size !== samples.length)
    throw new FaultlineError('WINDOW_INVALID', `the shape [${shape}] does not hold ${samples.length} samples`)
  for (let i = 0; i < samples.length; i++)
    if (!Number.isFinite(samples[i]!)) throw new FaultlineError('WINDOW_INVALID', `sample ${i} is not a finite number`)
  if (shaftHz !== undefined && !(shaftHz > 0 && Number.isFinite(shaftHz)))
    throw new FaultlineError('WINDOW_INVALID', `the shaft speed is ${shaftHz} Hz`)
}

/** As `checkWindow`, for a window that must be one channel of a signal. */
export function checkSignal(window: Window): void {
  checkWindow(window)
  if (window.shape.length !== 1) throw new FaultlineError('WINDOW_INVALID', 'the window is not one channel of a signal')
  if (!(window.rateHz > 0 && Number.isFinite(window.rateHz)))
    throw new FaultlineError('WINDOW_INVALID', `the sampling rate is ${window.rateHz} Hz`)
}
