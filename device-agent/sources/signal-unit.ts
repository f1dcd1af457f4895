import { FaultlineError } from '@faultline/protocol'

/** What samples may be in, and how many g one unit is; volts depend on the sensor. What reaches features is g. */
const gPer = { g: 1, 'm/s2': 1 / 9.80665, V: undefined } as const
export const signalUnits = Object.keys(gPer) as [SignalUnit, ...SignalUnit[]]
export type SignalUnit = keyof typeof gPer

export interface StatedUnit {
  unit?: SignalUnit | undefined
  /** Of an accelerometer in volts: what its data sheet says, 100 for the usual one. */
  sensitivityMvPerG?: number | undefined
}

/** How many g one unit is; 1 where none is stated. Throws `CONFIG_INVALID` for volts without a sensitivity. */
export function gOf({ unit = 'g', sensitivityMvPerG }: StatedUnit): number {
  const known = gPer[unit]
  if (known !== undefined) return known
  if (sensitivityMvPerG === undefined)
    throw new FaultlineError(
      'CONFIG_INVALID',
      'samples in V need the sensitivity of the sensor: sensitivityMvPerG: 100',
    )
  return 1_000 / sensitivityMvPerG
}
