import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { bearingOf } from '@faultline/inference'
import { BearingData } from '../data/bearing-data.ts'

/**
 * The insert bearing of the UESTC rig. Its makers give "UCPH 20x" only; a UC 204 (8 balls of 7.94 mm on a pitch of
 * 33.5 mm) gives 3.05 and 4.95, and the recordings show 2.98 and 4.92 times the shaft frequency for outer and inner race.
 */
export const uestcBearing = bearingOf({ balls: 8, ballDiameter: 7.938, pitchDiameter: 33.5 })

/** Its recordings have no converter step to hide: this is far below their noise and above the rounding of the files. */
const UESTC_STEP = 1e-5

const uestc = { set: 'uestc', bearing: uestcBearing, step: UESTC_STEP }

/** The UESTC recordings at this rate, or undefined where the directory has none. */
export async function openUestc(directory: string, rateHz: number): Promise<BearingData | undefined> {
  return existsSync(join(directory, uestc.set)) ? BearingData.open(directory, rateHz, uestc) : undefined
}
