import {
  amplitudeSpectrum,
  type Bearing,
  bearingClasses,
  envelopeSpectrum,
  type RecordingInfo,
  type Spectrum,
  skf6205,
  wideBand,
} from '@faultline/inference'
import type { BearingData } from '../data/bearing-data.ts'
import type { Point } from './curves.ts'

/** Spectra of one recording, thinned for drawing. */
export interface ExampleSpectra {
  class: string
  recording: string
  /** Amplitude against Hz. */
  spectrum: Point[]
  /** Squared-envelope amplitude, as a share of its largest, against orders of the shaft. */
  envelope: Point[]
  /** Where defects show, in orders. */
  marks: { name: string; order: number }[]
}

/** Samples transformed: 2.7 s at 12 kHz, fine enough to tell a defect from its sidebands. */
const LENGTH = 32_768
const HIGHEST_ORDER = 12
const POINTS = 360

/** One example of each class: the smallest defect at the lowest load, at the lowest speed of the set. */
export async function exampleSpectra(data: BearingData): Promise<ExampleSpectra[]> {
  const first = (a: RecordingInfo, b: RecordingInfo) =>
    (a.diameterInch ?? 0) - (b.diameterInch ?? 0) || (a.loadHp ?? 0) - (b.loadHp ?? 0) || a.id.localeCompare(b.id)
  const examples: ExampleSpectra[] = []
  for (const name of bearingClasses) {
    const [example] = data.recordings
      .filter(recording => recording.class === name && recording.shaftHz !== undefined)
      .sort(first)
    if (!example) continue
    const samples = (await data.read(example.id)).subarray(0, LENGTH)
    const envelope = envelopeSpectrum(samples, data.rateHz, wideBand(data.rateHz))
    const orders = thinned(envelope, envelope.binHz / example.shaftHz!, HIGHEST_ORDER)
    const largest = Math.max(...orders.map(point => point.y))
    examples.push({
      class: name,
      recording: example.id,
      spectrum: thinned(amplitudeSpectrum(samples, data.rateHz), undefined, data.rateHz / 2),
      envelope: orders.map(({ x, y }) => ({ x, y: y / largest })),
      marks: marksOf(data.bearing ?? skf6205),
    })
  }
  return examples
}

function marksOf({ bpfo, bpfi, bsf, ftf }: Bearing): ExampleSpectra['marks'] {
  return [
    { name: 'FTF', order: ftf },
    { name: 'BPFO', order: bpfo },
    { name: '2×BSF', order: 2 * bsf },
    { name: 'BPFI', order: bpfi },
  ]
}

/** The largest amplitude in each of a few hundred cells, so that no peak is lost. */
function thinned({ amplitudes, binHz }: Spectrum, step = binHz, end = Number.POSITIVE_INFINITY): Point[] {
  const bins = Math.min(amplitudes.length - 1, Math.floor(end / step))
  const cells = Math.min(POINTS, bins)
  return Array.from({ length: cells }, (_, cell) => {
    const [from, to] = [1 + Math.floor((cell * bins) / cells), Math.floor(((cell + 1) * bins) / cells)]
    let top = from
    for (let i = from; i <= to; i++) if (amplitudes[i]! > amplitudes[top]!) top = i
    return { x: Number((top * step).toPrecision(5)), y: Number(amplitudes[top]!.toPrecision(4)) }
  })
}
