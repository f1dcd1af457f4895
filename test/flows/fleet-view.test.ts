import assert from 'node:assert/strict'
import { test } from 'node:test'
import { FleetView } from '@faultline/flows'
import { type Health, type Inference, type Message, missedAtMost } from '@faultline/protocol'
import { type Look, look } from '../../flows/dashboard/look.ts'
import { priceList } from '../support/price-lists.ts'
import { alarmOf, deviceState, health, inference, serverState } from './fixtures.ts'

const now = new Date('2026-01-01T12:00:00.000Z')

const state = (device: string, machine: string): Message => ({
  kind: 'state',
  address: { kind: 'state', site: 'plant-a', device },
  payload: deviceState(machine),
})

const window = (payload: Inference, device = 'pi-1', point = 'motor-de'): Message => ({
  kind: 'inference',
  address: { kind: 'inference', site: 'plant-a', device, point },
  payload,
})

const alarm = (...args: Parameters<typeof alarmOf>): Message => {
  const payload = alarmOf(...args)
  const { site, machine, fault } = payload
  return { kind: 'alarm', address: { kind: 'alarm', site, machine, fault }, payload }
}

const shownBy = (view: FleetView, asked: Partial<Look> = {}) => {
  const { rows, parts } = view.show(look.parse(asked))
  return { machines: rows, ...parts }
}

function viewOf(...messages: Message[]) {
  const view = new FleetView('normal')
  for (const message of messages) view.apply(message)
  return shownBy(view)
}

test('a machine is known from its device, before its first window', () => {
  const { machines, totals } = viewOf(state('pi-1', 'press-1'))
  assert.deepEqual(
    machines.map(({ machine, status, label, escalatedShare }) => ({ machine, status, label, escalatedShare })),
    [{ machine: 'press-1', status: 'unknown', label: null, escalatedShare: null }],
  )
  assert.deepEqual(totals.devices, { known: 1, online: 1 })
})

test('the last window of a machine gives its state, the first of its label since when', () => {
  const windows = ['normal', 'ball', 'ball'].map(label => inference(label))
  const { machines } = viewOf(state('pi-1', 'press-1'), ...windows.map(payload => window(payload)))
  assert.equal(machines[0]?.status, 'suspect')
  assert.equal(machines[0]?.label, 'ball')
  assert.equal(machines[0]?.since, windows[1]!.at)
  assert.equal(machines[0]?.source, 'pi-1/motor-de')
})

test('a point that shows a fault speaks before one that does not', () => {
  const { machines } = viewOf(
    state('pi-1', 'press-1'),
    window(inference('ball'), 'pi-1', 'motor-de'),
    window(inference('normal'), 'pi-1', 'motor-nde'),
  )
  assert.equal(machines[0]?.label, 'ball')
})

test('windows in the strip: who answered, and what a revision made of it', () => {
  const late = inference('normal', { outcome: 'late', decidedBy: 'local-fallback' })
  const { machines } = viewOf(
    state('pi-1', 'press-1'),
    window(inference('normal')),
    window(late),
    window(inference('ball', { outcome: 'answered', decidedBy: 'server' })),
    window(inference('ball', { confidence: null, outcome: 'offline' })),
    window(inference('ball', { revises: late.id, outcome: 'late', decidedBy: 'server' })),
  )
  assert.equal(machines[0]?.history, 'nFF?')
  assert.equal(machines[0]?.windows, 4)
  assert.equal(machines[0]?.escalatedShare, 0.5)
})

test('a revision of the newest window of a point is what the machine shows', () => {
  const before = inference('ball')
  const late = inference('normal', { outcome: 'late', decidedBy: 'local-fallback', confidence: 0.4 })
  const verdict = inference('ball', { revises: late.id, outcome: 'late', decidedBy: 'server', confidence: 0.97 })
  const shown = (...windows: Inference[]) => {
    const { machines } = viewOf(state('pi-1', 'press-1'), ...windows.map(payload => window(payload)))
    const { status, label, confidence, decidedBy, since } = machines[0]!
    return { status, label, confidence, decidedBy, since }
  }
  const revised = { status: 'suspect', label: 'ball', confidence: 0.97, decidedBy: 'server' }
  assert.deepEqual(shown(late, verdict), { ...revised, since: late.at })
  assert.deepEqual(shown(before, late, verdict), { ...revised, since: before.at }, 'it never was normal between')
  const newer = inference('normal')
  assert.equal(shown(late, newer, verdict).label, 'normal', 'a newer window stands')
})

test('a window delivered again does not undo its revision', () => {
  const late = inference('normal', { outcome: 'late', decidedBy: 'local-fallback' })
  const verdict = inference('ball', { revises: late.id, outcome: 'late', decidedBy: 'server' })
  const { machines } = viewOf(state('pi-1', 'press-1'), window(late), window(verdict), window(late))
  const { history, label, windows } = machines[0]!
  assert.deepEqual({ history, label, windows }, { history: 'F', label: 'ball', windows: 1 })
})

test('a summary counts its windows', () => {
  const { machines } = viewOf(state('pi-1', 'press-1'), {
    kind: 'summary',
    address: { kind: 'summary', site: 'plant-a', device: 'pi-1', point: 'motor-de' },
    payload: {
      from: now.toISOString(),
      to: now.toISOString(),
      machine: 'press-1',
      windows: 60,
      labels: { normal: 60 },
      outcomes: { accepted: 54, answered: 5, late: 1 },
      features: {},
    },
  })
  assert.equal(machines[0]?.windows, 60)
  assert.equal(machines[0]?.escalatedShare, 0.1)
})

test('windows and summaries kept over an outage are not what a machine shows now', () => {
  const old = inference('ball', { backlog: true })
  const current = inference('normal')
  const { machines } = viewOf(state('pi-1', 'press-1'), window(current), window(old), {
    kind: 'summary',
    address: { kind: 'summary', site: 'plant-a', device: 'pi-1', point: 'motor-de' },
    payload: {
      from: old.at,
      to: old.at,
      machine: 'press-1',
      windows: 60,
      labels: { ball: 60 },
      outcomes: { accepted: 60 },
      features: {},
      backlog: true,
    },
  })
  const { label, status, since, windows, history } = machines[0]!
  assert.deepEqual(
    { label, status, since, windows, history },
    { label: 'normal', status: 'normal', since: current.at, windows: 1, history: 'n' },
  )
})

test('an active alarm outranks everything, one that is over does not show at the machine', () => {
  const active = viewOf(
    state('pi-1', 'press-1'),
    window(inference('normal')),
    alarm('press-1', 'ball', 'unacknowledged'),
  )
  assert.equal(active.machines[0]?.status, 'alarm')
  assert.deepEqual(active.machines[0]?.faults, ['ball'])
  assert.deepEqual([active.totals.alarms, active.totals.unacknowledged], [1, 1])
  const over = viewOf(
    state('pi-1', 'press-1'),
    window(inference('normal')),
    alarm('press-1', 'ball', 'returned-unacknowledged'),
  )
  assert.equal(over.machines[0]?.status, 'normal')
  assert.deepEqual([over.totals.alarms, over.totals.unacknowledged, over.alarms.length], [0, 1, 1])
  assert.deepEqual(viewOf(alarm('press-1', 'ball', 'normal')).alarms, [])
})

test('worst first: alarm, suspect, no answer, offline, normal; numbers in names count as numbers', () => {
  const { machines, alarms } = viewOf(
    ...['press-10', 'press-9', 'fan-1', 'fan-2', 'fan-3'].map((machine, i) => state(`pi-${i}`, machine)),
    window(inference('normal', { machine: 'press-10' }), 'pi-0'),
    window(inference('normal', { machine: 'press-9' }), 'pi-1'),
    window(inference('ball', { machine: 'fan-1' }), 'pi-2'),
    window(inference('normal', { machine: 'fan-2' }), 'pi-3'),
    { kind: 'state', address: { kind: 'state', site: 'plant-a', device: 'pi-3' }, payload: { online: false, boot: 1 } },
    alarm('fan-3', 'ball', 'acknowledged'),
    alarm('fan-3', 'cage', 'unacknowledged'),
  )
  assert.deepEqual(
    machines.map(({ machine, status }) => `${machine} ${status}`),
    ['fan-3 alarm', 'fan-1 suspect', 'fan-2 offline', 'press-9 normal', 'press-10 normal'],
  )
  assert.deepEqual(
    alarms.map(({ fault }) => fault),
    ['cage', 'ball'],
  )
})

test('traffic is summed from the counters of the devices', () => {
  const healthOf = (device: string, windows: number, escalated: number): Message => ({
    kind: 'health',
    address: { kind: 'health', site: 'plant-a', device },
    payload: health(windows, escalated),
  })
  const { totals } = viewOf(healthOf('pi-1', 100, 10), healthOf('pi-1', 200, 20), healthOf('pi-2', 300, 30))
  assert.equal(totals.windows, 500)
  assert.equal(totals.escalatedShare, 0.1)
  assert.equal(totals.roundTripMs, 23)
  assert.deepEqual(totals.bytes, { sent: 500 * 700 + 50 * 4200, ifAllEscalated: 500 * 700 + 500 * 4200 })
})

test('servers are counted, and a thousand machines come in pages, found and ordered as asked', () => {
  const view = new FleetView('normal')
  for (let i = 0; i < 1_000; i++) view.apply(state(`pi-${i}`, `press-${i}`))
  view.apply({ kind: 'server-state', address: { kind: 'server-state', server: 'edge' }, payload: serverState() })
  view.apply(alarm('press-7', 'ball', 'unacknowledged'))
  const names = (asked: Partial<Look>) => shownBy(view, asked).machines.map(({ machine }) => machine)
  const { totals, machines, matching } = shownBy(view)
  assert.deepEqual(totals.servers, { known: 1, online: 1 })
  assert.deepEqual([totals.machines, machines.length, matching], [1_000, 50, 1_000])
  assert.deepEqual(totals.byStatus, { alarm: 1, suspect: 0, unknown: 999, offline: 0, normal: 0 })
  assert.deepEqual(names({ rows: 3 }), ['press-7', 'press-0', 'press-1'])
  assert.deepEqual(names({ rows: 3, sort: 'machine', from: 997 }), ['press-997', 'press-998', 'press-999'])
  assert.deepEqual(names({ rows: 2, sort: 'machine', descending: true }), ['press-999', 'press-998'])
  assert.deepEqual(names({ find: 'BALL press' }), ['press-7'], 'by its fault, too')
  assert.deepEqual(names({ show: 'alarm' }), ['press-7'])
  assert.deepEqual(names({ site: 'plant-b' }), [])
  assert.deepEqual(
    shownBy(view, { find: 'press-99', from: 500 }).from,
    0,
    'a list that became short has a page to show',
  )
})

test('sites are summed up apart', () => {
  const { sites } = viewOf(
    state('pi-1', 'press-1'),
    { ...state('pi-1', 'fan-1'), address: { kind: 'state', site: 'plant-b', device: 'pi-1' } } as Message,
    { kind: 'health', address: { kind: 'health', site: 'plant-b', device: 'pi-1' }, payload: health(100, 25) },
  )
  assert.deepEqual(
    sites.map(({ site, machines, devices, windows, escalatedShare }) => [
      site,
      machines,
      devices.online,
      windows,
      escalatedShare,
    ]),
    [
      ['plant-a', 1, 1, 0, null],
      ['plant-b', 1, 1, 100, 0.25],
    ],
  )
})

test('energy saved is counted where a price list says what a byte takes', () => {
  const device = { site: 'plant-a', device: 'pi-1' }
  const report = { kind: 'health', address: { kind: 'health', ...device }, payload: health(1_000, 100) } as const
  assert.equal(viewOf(report).totals.energy.savedJ, null)
  const config: Message = {
    kind: 'config-reported',
    address: { kind: 'config-reported', ...device },
    payload: { revision: 1, at: now.toISOString(), status: 'applied', config: { prices: priceList } },
  }
  // 900 windows of 4,200 bytes that stayed on the device.
  assert.ok(Math.abs(viewOf(report, config).totals.energy.savedJ! - 900 * 4_200 * 0.001) < 1e-9)
})

test('what was cleared is gone: an alarm, a device, a server, and a machine nothing else is known of', () => {
  const view = new FleetView('normal')
  const server = { kind: 'server-state', server: 'edge' } as const
  view.apply(state('pi-1', 'press-1'))
  view.apply({ kind: 'server-state', address: server, payload: serverState() })
  for (const machine of ['press-1', 'press-2']) {
    view.apply(alarm(machine, 'ball', 'unacknowledged'))
    view.clear({ kind: 'alarm', site: 'plant-a', machine, fault: 'ball' })
  }
  const shown = () => shownBy(view).machines.map(({ machine, status }) => `${machine} ${status}`)
  assert.deepEqual(shownBy(view).alarms, [])
  assert.deepEqual(shown(), ['press-1 unknown'])
  view.clear({ kind: 'state', site: 'plant-a', device: 'pi-1' })
  view.clear(server)
  const { devices, servers } = shownBy(view).totals
  assert.deepEqual([devices.known, servers.known], [0, 0])
  assert.deepEqual(shown(), ['press-1 offline'])
})

test('what audits found is shown per machine, of all devices that watch it, and nothing before the first', () => {
  const report = (device: string, ...audited: Health['audited'] & {}): Message => ({
    kind: 'health',
    address: { kind: 'health', site: 'plant-a', device },
    payload: { ...health(10, 1), audited },
  })
  const of = (machine: string, silent: number, missed: number) => ({
    machine,
    audits: silent + 3,
    silent,
    missed,
    wrong: missed + 1,
    missedAtMost: missedAtMost({ silent, missed }),
  })
  const { machines } = viewOf(
    state('pi-1', 'press-1'),
    state('pi-2', 'press-1'),
    state('pi-3', 'press-2'),
    report('pi-1', of('press-1', 40, 1), of('press-2', 7, 0)),
    report('pi-2', of('press-1', 19, 0)),
    report('pi-3', of('press-2', 0, 0)),
  )
  assert.deepEqual(
    machines.map(({ machine, audits }) => ({ machine, audits })),
    [
      { machine: 'press-1', audits: { silent: 59, missed: 1, missedAtMost: missedAtMost({ silent: 59, missed: 1 }) } },
      { machine: 'press-2', audits: null },
    ],
  )
})

test('ten thousand machines are known: the one silent longest goes, one with an alarm stays', () => {
  const view = new FleetView('normal')
  view.apply(window(inference('normal', { machine: 'silent' })))
  view.apply(alarm('alarmed', 'ball', 'acknowledged'))
  for (let i = 0; i < 9_999; i++) view.apply(window(inference('normal', { machine: `press-${i}` })))
  const { totals, alarms } = shownBy(view)
  assert.deepEqual([totals.machines, alarms.length], [10_000, 1])
  view.apply(window(inference('normal', { machine: 'silent' })))
  const row = shownBy(view)
  assert.equal(row.totals.machines, 10_000)
  assert.deepEqual(
    row.alarms.map(({ machine }) => machine),
    ['alarmed'],
  )
})
