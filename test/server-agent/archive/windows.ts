import type { TestContext } from 'node:test'
import { BearingSimulator } from '@faultline/inference'
import { encodeWindow } from '@faultline/protocol'
import { Archive, type ArchiveOptions, ArchiveReader, type HardWindow } from '@faultline/server-agent'

export const classes = ['normal', 'ball', 'inner-race', 'outer-race'] as const

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`

let lastId = 0

/** A window of a simulated machine as it is archived. */
export function hardWindow(changes: Partial<HardWindow> = {}): HardWindow {
  const number = ++lastId
  const simulator = new BearingSimulator({ rateHz: 12_000, shaftHz: 29.5, fault: 'inner-race', seed: number })
  const samples = simulator.next(2_048)
  return {
    id: `window-${number}`,
    site: 'plant-a',
    device: 'pi-1',
    point: 'motor-de',
    machine: 'press-3',
    task: 'bearing-fault',
    reason: 'below-threshold',
    at: '2026-03-01T08:00:00.000Z',
    receivedAt: new Date().toISOString(),
    shaftHz: 29.5,
    local: { label: 'normal', confidence: 0.6, probabilities: [0.6, 0.2, 0.1, 0.1], digest: digest('1') },
    server: {
      label: 'inner-race',
      confidence: 0.9,
      probabilities: [0.05, 0.02, 0.9, 0.03],
      model: { name: 'bearing-server', version: '1.0.0', digest: digest('2') },
      agent: 'server-1',
      classes,
    },
    features: { rms: 0.25, kurtosis: 4.5 },
    window: encodeWindow({ samples, shape: [2_048], rateHz: 12_000 }),
    ...changes,
  }
}

export const windowsOf = (count: number, changes: Partial<HardWindow> = {}): HardWindow[] =>
  Array.from({ length: count }, () => hardWindow(changes))

/** An archive that a test writes to; it may close it itself. */
export function openArchive(t: Pick<TestContext, 'after'>, directory: string, options: Partial<ArchiveOptions> = {}) {
  const archive = Archive.open({ directory, maxBytes: 2 ** 24, maxAgeDays: 90, keep: 'windows', sites: {}, ...options })
  let open = true
  const close = () => {
    if (open) archive.close()
    open = false
  }
  t.after(close)
  return { archive, close }
}

/** What somebody reads from an archive. */
export function readArchive<T>(directory: string, read: (reader: ArchiveReader) => T): T {
  const reader = ArchiveReader.open(directory)
  try {
    return read(reader)
  } finally {
    reader.close()
  }
}

export const idsIn = (directory: string): string[] =>
  readArchive(directory, reader => [...reader.windows()].map(({ id }) => id))
