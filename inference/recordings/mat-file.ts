import { type MatArray, readMat } from './mat.ts'
import { chosen, type SignalChoice, type SignalFile } from './signal-file.ts'
import { timingOf } from './time-column.ts'

/** Fewer values are a speed, a load or a date. */
const minSamples = 16
const rateName = /(^|[._])(fs|sr|sampling_?(rate|frequency)|sample_?rate)(_?hz)?$/i
const timeName = /(^|[._])(t|time)$/i

/** True for a MATLAB file, of any version. */
export const isMat = (bytes: Buffer): boolean => bytes.toString('latin1', 0, 6) === 'MATLAB'

/** Opens a variable of a MATLAB file: a vector, or a matrix with a signal in each column. Throws with those there are. */
export function openMat(bytes: Buffer, { variable }: SignalChoice): SignalFile {
  const arrays = readMat(bytes)
  const times = [...arrays].find(([name, { values }]) => timeName.test(name) && values.length >= minSamples)?.[1]
  const rate = [...arrays].find(([name, { values }]) => rateName.test(name) && values.length === 1)?.[1].values[0]
  const candidates = [...arrays]
    .filter(([, array]) => array.values.length >= minSamples && array !== times)
    .map(([name, { values }], index) => ({ name, index, samples: values.length }))
  const { name } = chosen(candidates, { ...(variable !== undefined && { column: variable }) }, 'variable')
  const signals = columnsOf(arrays.get(name)!)
  const samples = signals[0]!.length
  const timing = times?.values.length === samples ? timingOf(times.values, 1e-12) : undefined
  const rateHz = timing?.rateHz ?? (rate !== undefined && rate > 0 ? rate : undefined)
  return {
    format: 'mat',
    signals: signals.map((_, index) => ({ name: signals.length === 1 ? name : String(index), index, samples })),
    ...(rateHz !== undefined && { rateHz }),
    read: ({ index }) => ({
      samples: Float32Array.from(signals[index]!),
      ...(rateHz !== undefined && { rateHz }),
      gaps: timing?.gaps ?? [],
    }),
  }
}

/** Arrays that are wider than high have their signals in rows. */
function columnsOf({ rows, columns, values }: MatArray): Float64Array[] {
  if (rows >= columns) return Array.from({ length: columns }, (_, i) => values.subarray(i * rows, (i + 1) * rows))
  return Array.from({ length: rows }, (_, row) =>
    Float64Array.from({ length: columns }, (_, i) => values[i * rows + row]!),
  )
}
