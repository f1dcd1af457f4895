import { readdir } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'

const natural = new Intl.Collator('en', { numeric: true })

/** Names that stand beside recordings and are none. */
const isBeside = (name: string): boolean =>
  name.startsWith('.') || /^(manifest\.(json|csv)|readme.*|licen[cs]e.*)$|\.(md|pdf|json|zip|png|jpe?g)$/i.test(name)

/** The names of the files in a directory that can be recordings, in their order: 9.csv before 10.csv. */
export async function recordingNames(directory: string): Promise<string[]> {
  const entries = await readdir(directory, { withFileTypes: true }).catch(cause => {
    throw toFaultlineError(cause, 'RECORDING_UNREADABLE', directory)
  })
  return entries
    .filter(entry => entry.isFile() && !isBeside(entry.name))
    .map(({ name }) => name)
    .sort(natural.compare)
}

/** The snapshots of a directory, or of those whose names fit a pattern such as `acc_*.csv`, in the order of their names. */
export async function snapshotPaths(path: string): Promise<string[]> {
  const pattern = basename(path)
  const isPattern = pattern.includes('*')
  const directory = isPattern ? dirname(path) : path
  const names = await recordingNames(directory)
  const fitting = isPattern ? names.filter(name => matches(name, pattern)) : names
  if (fitting.length === 0) throw new FaultlineError('RECORDING_UNREADABLE', `${path} holds no files of recordings`)
  return fitting.map(name => join(directory, name))
}

function matches(name: string, pattern: string): boolean {
  const parts = pattern.split('*').map(part => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return new RegExp(`^${parts.join('.*')}$`).test(name)
}
