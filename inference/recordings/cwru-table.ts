import type { BearingClass } from './recording.ts'

/** What the file number of an original CWRU recording stands for. */
export interface CwruEntry {
  class: BearingClass
  diameterInch?: number
  loadHp: number
  position?: string
  rateHz: number
}

/** Nominal motor speed of each load, in revolutions per minute, from the data set's own table. */
const nominalRpm = [1797, 1772, 1750, 1730] as const

/** Nominal shaft speed of a motor load in Hz; undefined for a load the rig was not run at. */
export function nominalShaftHz(loadHp: number): number | undefined {
  const rpm = nominalRpm[loadHp]
  return rpm === undefined ? undefined : rpm / 60
}

/** File numbers of loads 0, 1, 2, 3 for each seeded defect of the drive-end bearing, recorded at 12 kHz. */
const driveEnd12k: [BearingClass, number, string | undefined, [number, number, number, number]][] = [
  ['inner-race', 0.007, undefined, [105, 106, 107, 108]],
  ['inner-race', 0.014, undefined, [169, 170, 171, 172]],
  ['inner-race', 0.021, undefined, [209, 210, 211, 212]],
  ['inner-race', 0.028, undefined, [3001, 3002, 3003, 3004]],
  ['ball', 0.007, undefined, [118, 119, 120, 121]],
  ['ball', 0.014, undefined, [185, 186, 187, 188]],
  ['ball', 0.021, undefined, [222, 223, 224, 225]],
  ['ball', 0.028, undefined, [3005, 3006, 3007, 3008]],
  ['outer-race', 0.007, '@6', [130, 131, 132, 133]],
  ['outer-race', 0.007, '@3', [144, 145, 146, 147]],
  ['outer-race', 0.007, '@12', [156, 158, 159, 160]],
  ['outer-race', 0.014, '@6', [197, 198, 199, 200]],
  ['outer-race', 0.021, '@6', [234, 235, 236, 237]],
  ['outer-race', 0.021, '@3', [246, 247, 248, 249]],
  ['outer-race', 0.021, '@12', [258, 259, 260, 261]],
]

/**
 * The sound bearing, loads 0 to 3. Many papers read these files as 12 kHz; 97 was recorded at 48 kHz, and a model
 * trained on the wrong reading tells "normal" by the sampling rate.
 */
const normal = [97, 98, 99, 100]

/** Original file number to what it stands for. */
export const cwruTable: ReadonlyMap<number, CwruEntry> = new Map([
  ...normal.map((number, loadHp): [number, CwruEntry] => [number, { class: 'normal', loadHp, rateHz: 48_000 }]),
  ...driveEnd12k.flatMap(([faultClass, diameterInch, position, files]) =>
    files.map((number, loadHp): [number, CwruEntry] => [
      number,
      { class: faultClass, diameterInch, loadHp, position, rateHz: 12_000 },
    ]),
  ),
])
