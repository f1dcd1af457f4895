import { existsSync } from 'node:fs'

const timesyncd = '/run/systemd/timesync'
const builtAfter = Date.UTC(2026, 0, 1)

/**
 * Whether the clock can be believed. systemd-timesyncd leaves a file once it has heard a time server; without it, all that
 * can be said is whether the year is one in which this software existed: a Pi without a clock wakes in the past.
 */
export function clockSynchronised(directory = timesyncd): boolean {
  if (existsSync(directory)) return existsSync(`${directory}/synchronized`)
  return Date.now() >= builtAfter
}
