/** A way up to the server, with what it costs the device to use it. */
export interface Link {
  name: string
  megabitsPerSecond: number
  roundTripMs: number
  /** Energy of sending, on top of the power below. */
  microjoulesPerByte: number
  /** What the radio draws while bytes and answer are under way. */
  watts: number
  /** Where the two energies come from. */
  source: string
}

/**
 * Energies of Wi-Fi and LTE are the phone's of Huang et al. 2012, "A Close Examination of Performance and Power
 * Characteristics of 4G LTE Networks" (MobiSys), table 4: 283 and 438 mW per Mbit/s sent on top of 133 and 1,288 mW. The
 * seconds that an LTE radio stays on after the last byte are left out: who sends often pays them once.
 */
export const defaultLinks: readonly Link[] = [
  {
    name: 'BLE',
    megabitsPerSecond: 1,
    roundTripMs: 0,
    microjoulesPerByte: 0,
    watts: 0.02,
    source: 'assumption: what data sheets of single-mode chips give at 0 dBm',
  },
  {
    name: 'Wi-Fi',
    megabitsPerSecond: 20,
    roundTripMs: 0,
    microjoulesPerByte: 2.27,
    watts: 0.133,
    source: 'Huang et al. 2012, a phone',
  },
  {
    name: 'LTE',
    megabitsPerSecond: 10,
    roundTripMs: 50,
    microjoulesPerByte: 3.51,
    watts: 1.288,
    source: 'Huang et al. 2012, a phone, without its tail',
  },
]

/** Milliseconds until `bytes` are up and the answer is back; the answer's own bytes are within the round trip. */
export function linkMs({ megabitsPerSecond, roundTripMs }: Link, bytes: number): number {
  return (bytes * 8) / (megabitsPerSecond * 1000) + roundTripMs
}

/** Joules that the device's radio spends on it. */
export function linkJoules(link: Link, bytes: number): number {
  return bytes * link.microjoulesPerByte * 1e-6 + (link.watts * linkMs(link, bytes)) / 1000
}

/**
 * Links from a command line: `name:Mbit/s:round-trip-ms:uJ-per-byte:watts` with commas between. Undefined where one is
 * not that.
 */
export function parseLinks(text: string): Link[] | undefined {
  const links = text.split(',').map(part => {
    const [name = '', ...cells] = part.split(':').map(cell => cell.trim())
    const numbers = cells.map(cell => (cell === '' ? Number.NaN : Number(cell)))
    const [megabitsPerSecond = 0, roundTripMs = 0, microjoulesPerByte = 0, watts = 0] = numbers
    const fits = numbers.length === 4 && numbers.every(number => number >= 0 && number < Number.POSITIVE_INFINITY)
    if (name === '' || !fits || megabitsPerSecond === 0) return undefined
    return { name, megabitsPerSecond, roundTripMs, microjoulesPerByte, watts, source: 'as given' }
  })
  const all = links.filter(link => link !== undefined)
  const different = new Set(all.map(link => link.name)).size === links.length
  return different ? all : undefined
}
