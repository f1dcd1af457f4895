import { rateTolerance } from '@faultline/inference'
import { type ErrorCode, FaultlineError } from '@faultline/protocol'

/** Whether samples taken at one rate pass for those of another as they are. */
export const sameRate = (rateHz: number, wantedHz: number): boolean =>
  Math.abs(rateHz - wantedHz) <= rateTolerance * wantedHz

/** Throws where a source is too slow for the band that windows at the wanted rate have: resampling brings no band back. */
export function checkBand(name: string, rateHz: number, wantedHz: number, code: ErrorCode): void {
  if (rateHz > wantedHz || sameRate(rateHz, wantedHz)) return
  throw new FaultlineError(
    code,
    `${name} is sampled at ${rateHz} Hz, which holds nothing above ${rateHz / 2} Hz; the model takes ${wantedHz} Hz and looks up to ${wantedHz / 2} Hz: sample faster, use a model made for ${rateHz} Hz, or none, with window: { rateHz: ${rateHz} } and commissioning`,
  )
}
