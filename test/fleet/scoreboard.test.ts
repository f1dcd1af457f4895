import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Alarm, Inference } from '@faultline/protocol'
import { simulatedMachines } from '../../fleet/machines.ts'
import { Scoreboard } from '../../fleet/scoreboard.ts'
import { addCounters, noWindows } from '../../fleet/status.ts'

const [healthy, faulty] = simulatedMachines(2, 1)
const at = '2026-01-01T00:00:00.000Z'
const model = { name: 'tiny', version: '1.0.0', digest: 'sha256:123456789abc' }

function inference(id: string, local: string, changes: Partial<Inference> = {}): Inference {
  return {
    id,
    at,
    machine: faulty!.machine,
    label: local,
    confidence: 0.9,
    decidedBy: 'local',
    outcome: 'accepted',
    reason: 'confident',
    local: { label: local, confidence: 0.9, model },
    latencyMs: 1,
    features: {},
    ...changes,
  }
}

function alarm(machine: string, state: Alarm['state']): Alarm {
  return {
    site: 'local',
    machine,
    fault: 'ball',
    state,
    priority: 'medium',
    acknowledged: false,
    since: at,
    at,
    count: 4,
    evidence: [],
  }
}

const traffic = { audits: 0, bytesSent: 0, bytesIfAllEscalated: 0 }
const scores = (board: Scoreboard) => board.summary(noWindows, traffic)

test('local and final answers are held against the truth separately', () => {
  const board = new Scoreboard([healthy!, faulty!])
  board.record(inference('a', 'ball'), 'ball')
  board.record(inference('b', 'normal', { label: 'ball', decidedBy: 'server', outcome: 'answered' }), 'ball')
  board.record(inference('c', 'normal'), 'ball')
  const { accuracy, machines } = scores(board)
  assert.deepEqual(accuracy, { local: 1 / 3, final: 2 / 3 })
  assert.deepEqual(
    machines.map(({ windows, escalated }) => [windows, escalated]),
    [
      [0, 0],
      [3, 1],
    ],
  )
})

test('a revision replaces the final answer of its window and counts no second window', () => {
  const board = new Scoreboard([faulty!])
  board.record(inference('a', 'normal', { decidedBy: 'local-fallback', outcome: 'late' }), 'ball')
  assert.deepEqual(scores(board).accuracy, { local: 0, final: 0 })
  const revision = inference('b', 'normal', { label: 'ball', decidedBy: 'server', outcome: 'late', revises: 'a' })
  board.record(revision, 'ball')
  board.record(revision, 'ball')
  assert.deepEqual(scores(board).accuracy, { local: 0, final: 1 })
  assert.equal(scores(board).machines[0]!.windows, 1)
})

test('an alarm counts once, however often it is repeated, and is false on a healthy machine alone', () => {
  const board = new Scoreboard([healthy!, faulty!])
  board.record(inference('a', 'ball'), 'ball')
  for (const machine of [healthy!, faulty!]) {
    board.recordAlarm(alarm(machine.machine, 'unacknowledged'))
    board.recordAlarm(alarm(machine.machine, 'unacknowledged'))
  }
  assert.equal(board.activeAlarms.size, 2)
  board.recordAlarm(alarm(healthy!.machine, 'returned-unacknowledged'))
  assert.equal(board.activeAlarms.size, 1)
  const { alarmsRaised, falseAlarms } = scores(board)
  assert.deepEqual({ alarmsRaised, falseAlarms }, { alarmsRaised: 2, falseAlarms: 1 })
})

test('an alarm that stands from an earlier run is shown and not counted', () => {
  const standing = alarm(healthy!.machine, 'unacknowledged')
  const board = new Scoreboard([healthy!], Date.parse(standing.since) + 1)
  board.recordAlarm(standing)
  assert.equal(board.activeAlarms.size, 1)
  const { alarmsRaised, falseAlarms } = scores(board)
  assert.deepEqual({ alarmsRaised, falseAlarms }, { alarmsRaised: 0, falseAlarms: 0 })
})

test('an alarm before a simulated fault has begun is false', () => {
  const board = new Scoreboard([faulty!])
  board.record(inference('a', 'ball'), 'normal')
  board.recordAlarm(alarm(faulty!.machine, 'unacknowledged'))
  assert.equal(scores(board).falseAlarms, 1)
})

test('counters of several devices add up outcome by outcome', () => {
  const one = { windows: 6, accepted: 1, answered: 1, late: 1, rejected: 1, offline: 1, withheld: 0, pending: 1 }
  assert.deepEqual(
    addCounters([one, one]),
    Object.fromEntries(Object.entries(one).map(([key, value]) => [key, 2 * value])),
  )
  assert.deepEqual(addCounters([]), noWindows)
})
