import { type Link, linkJoules, linkMs } from './links.ts'

/** The device, measured against the machine that ran the evaluation. */
export interface Device {
  /** How many times longer one of its cores takes. */
  factor: number
  /** What computing adds to its idle power. */
  watts: number
}

/** Both are assumptions; measure yours. A Pi 5 is two to three times as fast as a Pi 4. */
export const defaultDevice: Device = { factor: 8, watts: 1 }

/** What one image takes on its way to an answer, times as measured here. */
export interface Work {
  /** Computing on the device, before its factor. */
  deviceMs: number
  /** On the wire; null where nothing is sent. */
  bytes: number | null
  serverMs: number
}

/** What it costs with a link and a device. */
export interface Expense {
  bytes: number
  latencyMs: number
  /** Of the device: computing and sending. Waiting costs nothing beyond the radio's power. */
  millijoules: number
}

export function expenseOf({ deviceMs, bytes, serverMs }: Work, link: Link, device: Device): Expense {
  const onDevice = deviceMs * device.factor
  const computing = onDevice * device.watts
  if (bytes === null) return { bytes: 0, latencyMs: onDevice, millijoules: computing }
  return {
    bytes,
    latencyMs: onDevice + linkMs(link, bytes) + serverMs,
    millijoules: computing + 1000 * linkJoules(link, bytes),
  }
}

/** The mean where every image takes the first and a share of them the second as well. */
export function together(first: Expense, then: Expense, share: number): Expense {
  return {
    bytes: first.bytes + share * then.bytes,
    latencyMs: first.latencyMs + share * then.latencyMs,
    millijoules: first.millijoules + share * then.millijoules,
  }
}
