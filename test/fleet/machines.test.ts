import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Dataset, loadBundle, type RecordingInfo } from '@faultline/inference'
import { recordedMachines, simulatedMachines } from '../../fleet/machines.ts'
import { formatBytes, renderLine, renderTable } from '../../fleet/screen.ts'
import { noWindows } from '../../fleet/status.ts'
import { root } from '../support/processes.ts'

const { description } = await loadBundle(join(root, 'models', 'bearing-local'))

/** A data set that lists the recordings of both sides of the split. */
const dataset: Dataset = {
  directory: '/nowhere',
  recordings: [...description.training.split.train, ...description.training.split.test].map(
    part =>
      ({ id: part.recording, class: part.class, rateHz: 12_000, samples: 1, group: part.recording }) as RecordingInfo,
  ),
  read: () => Promise.reject(new Error('not read here')),
  signal: () => Promise.reject(new Error('not read here')),
}

test('replayed machines play nothing that the models were trained on', () => {
  const trained = new Set(
    description.training.split.train.filter(({ from }) => from === undefined).map(({ recording }) => recording),
  )
  for (const { feed } of recordedMachines(40, description, dataset)) {
    assert.equal(feed.kind, 'recording')
    if (feed.kind === 'recording') assert.ok(!trained.has(feed.recording), feed.recording)
  }
})

test('of four replayed machines one is healthy and each fault is there once', () => {
  const faults = recordedMachines(4, description, dataset).map(({ fault }) => fault)
  assert.deepEqual([...faults].sort(), ['ball', 'inner-race', 'normal', 'outer-race'])
})

test('a data set without recordings of the test side is refused', () => {
  assert.throws(() => recordedMachines(1, description, { ...dataset, recordings: [] }), { code: 'RECORDING_INVALID' })
})

test('recordings of your own, which no split knows, are all played', () => {
  const recordings = ['normal', 'cage', 'normal'].map(
    (label, i) => ({ id: `own-${i}`, class: label, rateHz: 12_000, samples: 1, group: `own-${i}` }) as RecordingInfo,
  )
  const machines = recordedMachines(4, description, { ...dataset, recordings })
  assert.deepEqual(
    machines.map(({ fault, feed }) => [fault, feed.kind === 'recording' && feed.recording]),
    [
      ['normal', 'own-0'],
      ['cage', 'own-1'],
      ['normal', 'own-2'],
      ['cage', 'own-1'],
    ],
  )
})

test('half of the simulated machines stay healthy, and no two are alike', () => {
  const machines = simulatedMachines(6, 1)
  assert.equal(machines.filter(({ fault }) => fault === 'normal').length, 3)
  assert.equal(new Set(machines.map(({ feed }) => JSON.stringify(feed))).size, 6)
  assert.deepEqual(simulatedMachines(6, 1), machines)
})

test('the table shows each machine and the line sums them up', () => {
  const status = {
    elapsedS: 12,
    counters: { ...noWindows, windows: 10, accepted: 8, answered: 2 },
    bytesSaved: 750,
    bytesIfAllEscalated: 1_000,
    alarms: 1,
    machines: [
      {
        machine: 'motor-01',
        windows: 10,
        accepted: 8,
        escalated: 2,
        verdicts: 2,
        roundTripMs: 1.84,
        bytesSaved: 750,
        label: 'ball',
        alarms: ['ball'],
      },
    ],
  }
  const table = renderTable(status)
  assert.match(table, /motor-01 +10 +8 +2 +2 +1\.8 ms +750 B +ball +ball\n/)
  assert.equal(
    renderLine(status),
    '12 s · 10 windows · 8 accepted · 2 escalated (20 %) · 2 verdicts in time · 750 B saved (75 %) · 1 alarm',
  )
})

test('bytes are written with the unit that fits', () => {
  assert.deepEqual([999, 1_500, 2_340_000].map(formatBytes), ['999 B', '1.5 kB', '2.34 MB'])
})
