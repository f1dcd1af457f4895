import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Health, Message, UpdateOffer, UpdateStatus } from '@faultline/protocol'
import { DevicesView, type OpenDevice } from '../../flows/dashboard/devices-view.ts'
import { type Look, look } from '../../flows/dashboard/look.ts'
import type { Rollout } from '../../flows/dashboard/rollouts.ts'
import { deviceState, health, serverState } from './fixtures.ts'

const now = Date.UTC(2026, 0, 1, 12)
const at = (seconds: number): string => new Date(now + seconds * 1_000).toISOString()
const address = (device = 'pi-1') => ({ site: 'plant-a', device })

const state = (device: string, fields: object = {}): Message =>
  ({
    kind: 'state',
    address: { kind: 'state', ...address(device) },
    payload: { ...deviceState('press-1'), at: at(-60), ...fields },
  }) as Message

const gone = (device: string): Message => ({
  kind: 'state',
  address: { kind: 'state', ...address(device) },
  payload: { online: false, boot: 1 },
})

const report = (device: string, fields: Partial<Health> = {}): Message => ({
  kind: 'health',
  address: { kind: 'health', ...address(device) },
  payload: { ...health(100, 10), at: at(-5), ...fields },
})

const digest = `sha256:${'0'.repeat(64)}`

const offer = (device: string, id: string): Message => ({
  kind: 'update-offer',
  address: { kind: 'update-offer', ...address(device) },
  payload: { id, kind: 'bundle', name: 'bearings', version: '1.1.0', digest } as UpdateOffer,
})

const status = (device: string, fields: Pick<UpdateStatus, 'id' | 'state'> & Partial<UpdateStatus>): Message => ({
  kind: 'update-status',
  address: { kind: 'update-status', ...address(device) },
  payload: { kind: 'bundle', digest, at: at(-10), ...fields },
})

function viewOf(...messages: Message[]): DevicesView {
  const view = new DevicesView(() => now)
  for (const message of messages) view.apply(message)
  return view
}

const rows = (view: DevicesView, asked: Partial<Look> = {}) => view.show(look.parse(asked)).rows

test('a device that is as it should be has nothing to see to', () => {
  const [row] = rows(viewOf(state('pi-1'), report('pi-1')))
  assert.deepEqual(row?.problems, [])
  assert.equal(row?.heardAt, at(-5))
  assert.equal(row?.agentVersion, '0.1.0')
})

test('what somebody should see to is named, and its device comes first', () => {
  const sensor = { point: 'motor-de', fault: 'flat', since: at(-60), windows: 3 } as const
  const servers = { reachable: false, answeredShare: 0.25, deadlineMs: 5_000 }
  const view = viewOf(
    state('pi-1'),
    state('pi-2', { clockSynchronised: false }),
    report('pi-2', { queues: { spool: 2_000, pending: 0, dropped: 4 } }),
    state('pi-3'),
    report('pi-3', { points: [sensor], servers }),
    state('pi-4', { certificateUntil: at(13 * 86_400) }),
    state('pi-5', { certificateUntil: at(15 * 86_400) }),
    state('pi-6'),
    report('pi-6', { at: at(-3_600) }),
    state('pi-7'),
    gone('pi-7'),
    state('pi-8'),
    status('pi-8', { id: 'r1', state: 'rolled-back', error: { code: 'X', message: 'too many contradictions' } }),
  )
  assert.deepEqual(
    rows(view).map(({ device, problems }) => `${device} ${problems.join(' ')}`.trim()),
    [
      'pi-7 offline',
      'pi-6 silent',
      'pi-3 sensor servers',
      'pi-4 certificate',
      'pi-8 update',
      'pi-2 clock spool dropped',
      'pi-1',
      'pi-5',
    ],
  )
  assert.equal(rows(view, { find: 'pi-3' })[0]!.lostShare, 0.75)
  assert.equal(rows(view, { find: 'pi-7' })[0]!.agentVersion, '0.1.0', 'what it ran is known while it is away')
  assert.deepEqual(view.show(look.parse({})).parts.counts, { all: 8, online: 7, offline: 1, attention: 6 })
  assert.deepEqual(
    rows(view, { show: 'offline' }).map(({ device }) => device),
    ['pi-7'],
  )
})

test('an update is shown as far as the device says it is, and a rollout as far as its devices are', () => {
  const view = viewOf(
    ...['pi-1', 'pi-2', 'pi-3', 'pi-4'].flatMap(device => [state(device), offer(device, 'r2')]),
    status('pi-1', { id: 'r2', state: 'done' }),
    status('pi-2', { id: 'r2', state: 'downloading', received: 25, bytes: 100 }),
    status('pi-3', { id: 'r1', state: 'done' }),
    status('pi-4', { id: 'r2', state: 'failed', error: { code: 'X', message: 'wrong digest' } }),
  )
  const shown = rows(view, { sort: 'device' }).map(({ update }) => [update?.state, update?.received, update?.error])
  assert.deepEqual(shown, [
    ['done', null, null],
    ['downloading', 0.25, null],
    ['offered', null, null],
    ['failed', null, 'wrong digest'],
  ])
  const [rollout] = view.show(look.parse({})).parts.rollouts as Rollout[]
  const { devices, done, underWay, failed } = rollout!
  assert.deepEqual({ devices, done, underWay, failed }, { devices: 4, done: 1, underWay: 2, failed: 1 })
})

test('an open device tells its points and what waits, and is gone once it is cleared', () => {
  const view = viewOf(state('pi-1'), report('pi-1'))
  const open = () => view.show(look.parse({ open: 'plant-a/pi-1' })).parts.open as OpenDevice | null
  assert.deepEqual(
    open()!.points.map(({ machine }) => machine),
    ['press-1'],
  )
  assert.equal(open()!.health!.counters.windows, 100)
  view.clear({ kind: 'state', ...address() })
  assert.equal(open(), null)
})

test('servers are told with their models, shadows among them', () => {
  const model = {
    name: 'big',
    version: '1.0.0',
    digest,
    task: 't',
    role: 'server',
    engine: 'onnx',
    enginesRejected: [],
  }
  const running = { ...serverState(), models: [model, { ...model, version: '1.1.0', shadow: true }] }
  const { servers } = viewOf({
    kind: 'server-state',
    address: { kind: 'server-state', server: 'edge' },
    payload: running,
  } as Message).show(look.parse({})).parts as { servers: { models: string[] }[] }
  assert.deepEqual(servers[0]?.models, ['big 1.0.0 on onnx', 'big 1.1.0 on onnx, shadow'])
})
