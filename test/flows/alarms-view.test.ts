import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Alarm } from '@faultline/protocol'
import { rowOf } from '../../flows/dashboard/alarm-history.ts'
import { AlarmsView, type OpenAlarm } from '../../flows/dashboard/alarms-view.ts'
import { type Look, look } from '../../flows/dashboard/look.ts'
import { alarmOf } from './fixtures.ts'

const noon = Date.UTC(2026, 0, 1, 12)
const at = (seconds: number): string => new Date(noon + seconds * 1_000).toISOString()

/** An alarm that entered its state at a time, and was said at that time or later. */
const alarm = (fields: Partial<Alarm> & Pick<Alarm, 'state'>, since = 0, said = since): Alarm => ({
  ...alarmOf('press-1', 'ball', fields.state),
  since: at(since),
  at: at(said),
  ...fields,
})

function viewOf(...alarms: Alarm[]) {
  const view = new AlarmsView()
  for (const payload of alarms) {
    const { site, machine, fault } = payload
    view.apply({ kind: 'alarm', address: { kind: 'alarm', site, machine, fault }, payload })
  }
  return view
}

const keys = (view: AlarmsView, asked: Partial<Look> = {}) =>
  view.show(look.parse(asked)).rows.map(({ machine, fault }) => `${machine} ${fault}`)

const open = (view: AlarmsView) =>
  view.show(look.parse({ open: 'plant-a/press-1/ball' })).parts.open as OpenAlarm | null

const told = (view: AlarmsView) =>
  open(view)!.history.map(({ at, what, by, to }) =>
    [Date.parse(at) - noon, what, by ?? to].filter(x => x !== undefined),
  )

test('what is there and unseen comes first, by priority, then what is acknowledged, returned and out of sight', () => {
  const of = (machine: string, state: Alarm['state'], priority: Alarm['priority'] = 'medium'): Alarm => ({
    ...alarm({ state, priority }),
    machine,
  })
  const view = viewOf(
    of('a', 'shelved', 'critical'),
    of('b', 'acknowledged', 'critical'),
    of('c', 'unacknowledged', 'low'),
    of('d', 'returned-unacknowledged', 'critical'),
    of('e', 'unacknowledged', 'high'),
    of('f', 'normal'),
  )
  assert.deepEqual(keys(view), ['e ball', 'c ball', 'b ball', 'd ball', 'a ball'])
  assert.deepEqual(view.show(look.parse({})).parts.counts, {
    standing: 5,
    unacknowledged: 3,
    active: 3,
    shelved: 1,
    over: 1,
    all: 6,
  })
  assert.deepEqual(keys(view, { show: 'over' }), ['f ball'])
  assert.deepEqual(keys(view, { show: 'all', sort: 'machine', descending: true, rows: 2 }), ['f ball', 'e ball'])
  assert.deepEqual(keys(view, { find: 'critical shelved' }), ['a ball'])
})

test('a history says what happened, by whom and when, and leaves out counts that only grew', () => {
  const action = { name: 'acknowledge', at: at(20), by: 'anna' } as const
  const comment = { name: 'comment', at: at(30), by: 'ben', comment: 'bearing ordered' } as const
  const view = viewOf(
    alarm({ state: 'unacknowledged', notified: { count: 1, at: at(0), to: 'anna@example.com' } }),
    alarm({ state: 'unacknowledged', count: 9, notified: { count: 1, at: at(0), to: 'anna@example.com' } }, 0, 5),
    alarm({ state: 'acknowledged', count: 12, action }, 20),
    alarm({ state: 'acknowledged', count: 15, action }, 20, 25),
    alarm({ state: 'acknowledged', count: 16, action: comment }, 20, 30),
    alarm({ state: 'normal', count: 16, action: comment }, 60),
  )
  assert.deepEqual(told(view), [
    [60_000, 'returned'],
    [30_000, 'comment', 'ben'],
    [20_000, 'acknowledge', 'anna'],
    [0, 'notified', 'anna@example.com'],
    [0, 'raised'],
  ])
  assert.equal(open(view)!.history[1]!.comment, 'bearing ordered')
})

test('shelving that ends by itself is told apart from what a person does', () => {
  const action = { name: 'shelve', at: at(10), by: 'anna' } as const
  const suppression = { kind: 'shelved', active: true, until: at(70) } as const
  const view = viewOf(
    alarm({ state: 'unacknowledged' }),
    alarm({ state: 'shelved', action, suppression }, 10),
    alarm({ state: 'shelved', action, suppression: { ...suppression, active: false } }, 10, 40),
    alarm({ state: 'normal', action }, 70),
  )
  assert.deepEqual(
    told(view).map(([, what]) => what),
    ['unshelved', 'returned', 'shelve', 'raised'],
  )
})

test('the past of the store is put before what was heard, and what both know counts once', () => {
  const now = alarm({ state: 'acknowledged', action: { name: 'acknowledge', at: at(20), by: 'anna' } }, 20)
  const view = viewOf(now)
  const key = 'plant-a/press-1/ball'
  assert.ok(view.lacksPast(key))
  assert.equal(view.lacksPast('plant-a/press-1/cage'), false, 'nobody has spoken of it')
  view.remember(key, { problem: 'no store is configured for this node' })
  assert.match(open(view)!.incomplete!, /no store/)
  assert.ok(view.lacksPast(key), 'it may be there the next time')
  view.remember(key, [rowOf(now), rowOf(alarm({ state: 'unacknowledged' }))])
  assert.equal(view.lacksPast(key), false)
  assert.equal(open(view)!.incomplete, undefined)
  assert.deepEqual(
    told(view).map(([, what]) => what),
    ['acknowledge', 'raised'],
  )
})

test('an alarm that was cleared is gone, open or not', () => {
  const view = viewOf(alarm({ state: 'unacknowledged' }))
  view.clear({ kind: 'alarm', site: 'plant-a', machine: 'press-1', fault: 'ball' })
  assert.deepEqual(keys(view, { show: 'all' }), [])
  assert.equal(open(view), null)
})
