// Adds numbered windows to an archive, in batches, saying each batch only once it is done, until it is killed.
import { writeSync } from 'node:fs'
import { Archive } from '../../server-agent/archive/archive.ts'
import type { HardWindow } from '../../server-agent/archive/hard-window.ts'

const [directory, first] = process.argv.slice(2)
const archive = Archive.open({ directory: directory!, maxBytes: 2 ** 24, maxAgeDays: 90, keep: 'windows', sites: {} })
const digest = `sha256:${'1'.repeat(64)}`
const answer = { label: 'normal', confidence: 0.9, probabilities: [0.9, 0.1] }
const window: HardWindow = {
  ...{ id: '', site: 'plant-a', device: 'pi-1', point: 'motor-de', machine: 'press-3', task: 'bearing-fault' },
  ...{ reason: 'below-threshold', at: '2026-03-01T08:00:00.000Z', receivedAt: new Date().toISOString(), features: {} },
  local: { ...answer, digest },
  server: { ...answer, agent: 'server-1', model: { name: 'tiny', version: '1.0.0', digest } },
  window: { dtype: 'i16', shape: [2_048], scale: 1, rateHz: 12_000, bytes: new Uint8Array(4_096) },
}
for (let number = Number(first); ; number += 3) {
  archive.add([0, 1, 2].map(i => ({ ...window, id: String(number + i) })))
  writeSync(1, `+${number + 2}\n`)
}
