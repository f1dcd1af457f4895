import type { Window } from '../window.ts'
import { type Bearing, frequenciesHz } from './bearing.ts'
import { envelopeSpectrum, wideBand } from './envelope.ts'
import { amplitudeSpectrum, type Spectrum } from './spectrum.ts'

/** Harmonics of each defect frequency that get a cursor. */
const HARMONICS = 3
/** The envelope spectrum ends a little past the last cursor; without cursors at this share of the sampling rate. */
const ENVELOPE_SHARE = 1 / 12

/** A defect frequency in the envelope spectrum: the impacts of a ball come at twice its spin. */
export interface Cursor {
  name: keyof Bearing
  harmonic: number
  hz: number
}

/** Amplitudes at 0, `stepHz`, 2 `stepHz` … */
export interface SpectrumLine {
  stepHz: number
  values: number[]
}

/** A signal window as a person looks at it, to four digits. */
export interface Portrait {
  rateHz: number
  shaftHz?: number
  /** In the unit of the samples. */
  waveform: number[]
  spectrum: SpectrumLine
  /** Of the squared envelope, from 0 to a little past the last cursor. */
  envelope: SpectrumLine
  /** None where the shaft speed or the bearing is not known. */
  cursors: Cursor[]
}

/** Throws nothing for a window that was checked; `bearing` stands where the window names none. */
export function portraitOf(window: Window, bearing: Bearing | undefined = window.bearing): Portrait {
  const { samples, rateHz, shaftHz } = window
  const cursors = shaftHz !== undefined && bearing ? cursorsOf(bearing, shaftHz) : []
  const highest = cursors.length > 0 ? 1.1 * Math.max(...cursors.map(({ hz }) => hz)) : rateHz * ENVELOPE_SHARE
  return {
    rateHz,
    ...(shaftHz !== undefined && { shaftHz }),
    waveform: Array.from(samples, rounded),
    spectrum: lineOf(amplitudeSpectrum(samples, rateHz), rateHz / 2),
    envelope: lineOf(envelopeSpectrum(samples, rateHz, wideBand(rateHz)), highest),
    cursors: cursors.filter(({ hz }) => hz <= rateHz / 2),
  }
}

function cursorsOf(bearing: Bearing, shaftHz: number): Cursor[] {
  const hz = frequenciesHz(bearing, shaftHz)
  const impacts = { bpfo: hz.bpfo, bpfi: hz.bpfi, bsf: 2 * hz.bsf, ftf: hz.ftf }
  return (Object.entries(impacts) as [keyof Bearing, number][]).flatMap(([name, first]) =>
    Array.from({ length: HARMONICS }, (_, i) => ({ name, harmonic: i + 1, hz: rounded(first * (i + 1)) })),
  )
}

/** Without the mean, whose remains in the first bins would dwarf the others. */
function lineOf({ amplitudes, binHz }: Spectrum, highestHz: number): SpectrumLine {
  const bins = Math.min(amplitudes.length, Math.ceil(highestHz / binHz) + 1)
  return { stepHz: binHz, values: Array.from(amplitudes.subarray(0, bins), (value, i) => (i < 2 ? 0 : rounded(value))) }
}

const rounded = (value: number): number => Number(value.toPrecision(4))
