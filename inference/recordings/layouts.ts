import { type Bearing, bearingOf } from '../signal/bearing.ts'
import { unlabelled } from './recording.ts'
import type { SignalFile, SignalName } from './signal-file.ts'

/** Files of a data set that is recognised: by the names of its files, their columns, and the directory they are in. */
export interface Layout {
  name: string
  /** The files are snapshots of one run, and not recordings of their own. */
  snapshots: boolean
  matches(file: LayoutFile): boolean
  describe(file: LayoutFile): Described
}

export interface LayoutFile {
  /** From the directory that is described, `/` between its parts. */
  path: string
  name: string
  opened: SignalFile
}

/** What is published of a layout and does not stand in its files. */
export interface Described {
  samplingRateHz?: number
  snapshotIntervalS?: number
  rpm?: number
  unit?: string
  bearing?: string
  orders?: Bearing
  /** Columns with a vibration, and what they are called; all when absent. */
  columns?: ReadonlyMap<number, string>
}

const isUnnamed = ({ signals }: SignalFile): boolean => signals.every(({ name, index }) => name === String(index))
const geometry = (balls: number, ballDiameter: number, pitchDiameter: number, contactAngleDeg = 0): Bearing =>
  bearingOf({ balls, ballDiameter, pitchDiameter, contactAngleDeg })
const numbered = (names: readonly string[], from = 0) => new Map(names.map((name, i) => [from + i, name]))

/** Speeds of the three operating conditions of PRONOSTIA, by the first number in the name of a bearing. */
const pronostiaRpm: Partial<Record<string, number>> = { 1: 1800, 2: 1650, 3: 1500 }
const pronostiaCondition = /Bearing([123])_\d/i
const snapshotName = /^\d{4}(\.\d\d){5}$/

export const layouts: readonly Layout[] = [
  {
    name: 'IMS (NASA, University of Cincinnati)',
    snapshots: true,
    matches: ({ name, opened }) =>
      snapshotName.test(name) && [4, 8].includes(opened.signals.length) && isUnnamed(opened),
    describe: ({ opened }) => ({
      samplingRateHz: 20_480,
      rpm: 2000,
      unit: 'g',
      bearing: 'Rexnord ZA-2115',
      orders: geometry(16, 0.331, 2.815, 15.17),
      columns: numbered(
        opened.signals.length === 8
          ? ['1-x', '1-y', '2-x', '2-y', '3-x', '3-y', '4-x', '4-y'].map(name => `bearing${name}`)
          : ['1', '2', '3', '4'].map(name => `bearing${name}`),
      ),
    }),
  },
  {
    name: 'FEMTO (PRONOSTIA, IEEE PHM 2012)',
    snapshots: true,
    matches: ({ name, opened }) => /^acc_\d+\.csv$/i.test(name) && [1, 2].includes(opened.signals.length),
    describe: ({ path }) => {
      const rpm = pronostiaRpm[pronostiaCondition.exec(path)?.[1] ?? '']
      return {
        samplingRateHz: 25_600,
        snapshotIntervalS: 10,
        ...(rpm !== undefined && { rpm }),
        unit: 'g',
        bearing: 'PRONOSTIA',
        orders: geometry(13, 3.5, 25.6),
        columns: numbered(['horizontal', 'vertical'], 4),
      }
    },
  },
  {
    name: 'XJTU-SY',
    snapshots: true,
    matches: ({ name, opened }) =>
      /^\d+\.csv$/i.test(name) && /^horizontal_vibration/i.test(opened.signals[0]?.name ?? ''),
    describe: ({ path }) => {
      const shaftHz = Number(/([\d.]+)Hz[\d.]+kN/i.exec(path)?.[1])
      return {
        samplingRateHz: 25_600,
        snapshotIntervalS: 60,
        ...(shaftHz > 0 && { rpm: shaftHz * 60 }),
        unit: 'g',
        bearing: 'LDK UER204',
        orders: geometry(8, 7.92, 34.55),
        columns: numbered(['horizontal', 'vertical']),
      }
    },
  },
  {
    name: 'MaFaulDa',
    snapshots: false,
    matches: ({ name, opened }) => /^\d+(\.\d+)?\.csv$/i.test(name) && opened.signals.length === 8 && isUnnamed(opened),
    // Files are named after the speed in Hz. Column 0 is the tacho, 7 the microphone.
    describe: ({ name }) => ({
      samplingRateHz: 50_000,
      rpm: Number.parseFloat(name) * 60,
      unit: 'V',
      columns: numbered(
        ['underhang', 'overhang'].flatMap(end => ['axial', 'radial', 'tangential'].map(axis => `${end}-${axis}`)),
        1,
      ),
    }),
  },
]

const classWords: readonly [RegExp, string][] = [
  [/mis-?align/i, 'misalignment'],
  [/unbalance|imbalance/i, 'unbalance'],
  [/loose/i, 'looseness'],
  [/outer|(^|[^a-z])or\d*([^a-z]|$)/i, 'outer-race'],
  [/inner|(^|[^a-z])ir\d*([^a-z]|$)/i, 'inner-race'],
  [/cage/i, 'cage'],
  [/ball|roller|rolling/i, 'ball'],
  [/gear/i, 'gear'],
  [/normal|healthy|baseline|(^|[^a-z])good([^a-z]|$)/i, 'normal'],
]

/** What a path says that a recording shows. */
export const classIn = (path: string): string => classWords.find(([word]) => word.test(path))?.[1] ?? unlabelled

/** The signals of a file with a vibration in them, as its layout has them. */
export function vibrationsOf({ signals }: SignalFile, { columns }: Described): { signal: SignalName; name: string }[] {
  return signals.flatMap(signal => {
    const name = columns === undefined ? signal.name : columns.get(signal.index)
    return name === undefined ? [] : [{ signal, name }]
  })
}
