import { defectOrders } from '@faultline/protocol'
import { z } from 'zod'

const path = z
  .string()
  .regex(/^[^/\\.][^/\\]*(\/[^/\\.][^/\\]*)*$/, 'is not a path inside its directory')
  .max(1_024)
const positive = z.number().positive()
const name = z.string().min(1).max(128)

/** One entry of `manifest.json`; fields beside these are ignored. */
export const manifestEntry = z.object({
  file: path.describe(
    'A file of the directory: .f32 (little-endian float32 without a header), a table, WAV or MATLAB file; or a directory of snapshots, of which `*` in the last part names some',
  ),
  column: z.union([z.int().nonnegative(), z.string().min(1)]).nullish(),
  variable: name.nullish(),
  class: z.string().min(1).max(64).nullish(),
  samplingRateHz: positive,
  samples: z.int().positive(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullish(),
  rpm: positive.nullish(),
  loadHp: z.number().nonnegative().nullish(),
  faultDiameterInch: z.number().nonnegative().nullish(),
  outerRacePosition: z.string().nullish(),
  recordingGroup: z.string().nullish(),
  machine: name.nullish(),
  run: name.nullish(),
  part: z.int().nonnegative().nullish(),
  snapshotSamples: z.int().positive().nullish(),
  snapshotIntervalS: positive.nullish(),
  unit: name.nullish(),
  bearing: z.union([name, defectOrders]).nullish(),
  orders: defectOrders.nullish(),
})
export const manifestSchema = z.array(manifestEntry).min(1)
export type ManifestEntry = z.infer<typeof manifestEntry>

const endings = /\.(f32|csv|txt|tsv|dat|asc|lvm|wav|mat)$/i

/** The name of a recording: its path without the ending, with the column where the entry names one. */
export function idOf({ file, column, variable }: Pick<ManifestEntry, 'file' | 'column' | 'variable'>): string {
  const stem = file.replace(/(^|\/)[^/]*\*[^/]*$/, '').replace(endings, '') || 'run'
  return [stem.replaceAll('/', '-'), ...(variable == null ? [] : [variable]), ...(column == null ? [] : [column])].join(
    '-',
  )
}
