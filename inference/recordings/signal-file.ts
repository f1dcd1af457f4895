/** One column or channel of a file, as the file has it. */
export interface RecordedSignal {
  samples: Float32Array
  /** Where the file states it: by its times, or in its header. */
  rateHz?: number
  /** As the file names it; `m/s2`, `mm/s` and `um` in this spelling. */
  unit?: string
  /** Samples before which others are missing. */
  gaps: readonly number[]
}

/** What can be read from a file. */
export interface SignalFile {
  format: 'table' | 'wav' | 'mat'
  /** Without those of time. */
  signals: readonly SignalName[]
  rateHz?: number
  /** Throws an `Error` without the name of the file. */
  read(signal: SignalName): RecordedSignal | Promise<RecordedSignal>
}

export interface SignalName {
  name: string
  /** Its number in the file, from 0, columns of time counted. */
  index: number
  unit?: string
  samples: number
}

/** Which signal of a file is meant. */
export interface SignalChoice {
  /** Column or channel, by name or by number from 0. */
  column?: string | number
  /** Variable of a .mat file. */
  variable?: string
}

/**
 * The signal that is meant. Where the file has one only, none need be named. Throws with all there are.
 */
export function chosen(signals: readonly SignalName[], { column }: SignalChoice, what = 'column'): SignalName {
  const list = signals.map(({ name, index }) => (name === String(index) ? name : `${index} "${name}"`)).join(', ')
  if (column === undefined) {
    if (signals.length === 1) return signals[0]!
    throw new Error(`has several ${what}s, say which ${what} has the samples: ${list || 'there is none'}`)
  }
  const found =
    signals.find(({ name }) => name === column) ??
    signals.find(({ index }) => index === Number(column)) ??
    only(signals.filter(({ name }) => typeof column === 'string' && plain(name) === plain(column)))
  if (!found) throw new Error(`has no ${what} ${JSON.stringify(column)} of samples, but ${list || 'none'}`)
  return found
}

/** "Accel Z (g)" is found by "accel z" too. */
const plain = (name: string): string =>
  name
    .replace(/\s*[[(].*$/, '')
    .trim()
    .toLowerCase()

const only = <T>(list: readonly T[]): T | undefined => (list.length === 1 ? list[0] : undefined)
