import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Inference, type Message, upperBound } from '@faultline/protocol'
import { readCalibrations } from '../../flows/dashboard/calibrations.ts'
import { DecisionTally, windowOf } from '../../flows/dashboard/decision-tally.ts'
import { DecisionsView, type OpenDecisions, type Setting } from '../../flows/dashboard/decisions-view.ts'
import { type Look, look } from '../../flows/dashboard/look.ts'
import { priceList } from '../support/price-lists.ts'
import { root } from '../support/processes.ts'
import { deviceState, inference } from './fixtures.ts'

const model = { name: 'server', version: '1', digest: 'sha256:0123456789ab' }
const price = 0.2

/** A window that the device called normal with this confidence, and what a server said, where it was asked. */
function window(said?: string, fields: Partial<Inference> = {}, confidence = 0.9): Inference {
  const { local } = inference('normal')
  return inference('normal', {
    numbers: { score: confidence, price },
    local: { ...local, confidence },
    ...(said !== undefined && {
      outcome: 'answered',
      decidedBy: 'server',
      server: { label: said, confidence: 0.95, model, agent: 'server-1' },
    }),
    ...fields,
  })
}

const audit = (said: string, confidence?: number) => window(said, { reason: 'audit' }, confidence)

function tallyOf(...windows: Inference[]): DecisionTally {
  const tally = new DecisionTally()
  for (const each of windows) tally.count(windowOf(each))
  return tally
}

const times = <T>(count: number, make: () => T): T[] => Array.from({ length: count }, make)

test('what a policy cost is its escalations at their price, and what audits say of the windows it accepted', () => {
  // 80 accepted; 16 asked about, of which the server put 4 right; 4 audits, one of them wrong.
  const tally = tallyOf(
    ...times(80, () => window()),
    ...times(12, () => window('normal')),
    ...times(4, () => window('ball')),
    ...times(3, () => audit('normal')),
    audit('ball'),
  )
  const costs = tally.costs()!
  const close = (actual: number, expected: number) => assert.ok(Math.abs(actual - expected) < 1e-9, `${actual}`)
  close(costs.ours, 20 * price + 80 / 4)
  close(costs.always, 100 * price)
  close(costs.never, 80 / 4 + 5)
  close(costs.oursAtMost, 20 * price + 80 * upperBound(1, 4))
  assert.ok(costs.neverAtMost > costs.never)
})

test('before the first audit nothing is claimed', () => {
  assert.equal(tallyOf(window(), window('ball')).costs(), null)
})

test('a window delivered twice counts once, and a verdict after the deadline belongs to the window that was counted', () => {
  const late = window(undefined, { outcome: 'late', decidedBy: 'local-fallback' })
  const verdict = window('ball', { outcome: 'late', revises: late.id })
  const tally = tallyOf(late, late, verdict, verdict)
  const { windows, escalated, answered, contradicted } = tally
  assert.deepEqual(
    { windows, escalated, answered, contradicted },
    { windows: 1, escalated: 1, answered: 1, contradicted: 1 },
  )
})

test('windows in a summary count with the price of the last one published', () => {
  const tally = tallyOf(window(), audit('normal'))
  tally.countSummary({
    from: '2026-01-01T12:00:00.000Z',
    to: '2026-01-01T12:01:00.000Z',
    machine: 'press-1',
    windows: 60,
    labels: { normal: 60 },
    outcomes: { accepted: 50, answered: 10 },
    features: {},
  })
  assert.equal(tally.windows, 62)
  assert.equal(tally.escalated, 11)
  assert.ok(Math.abs(tally.costs()!.always - 62 * price) < 1e-9)
})

test('agreement with the server is told by confidence, with its range', () => {
  const tally = tallyOf(
    ...times(8, () => window('normal', {}, 0.55)),
    ...times(2, () => window('ball', {}, 0.57)),
    audit('normal', 1),
    window('normal', {}, 0),
  )
  const [lowest, middle, highest] = tally.observed()
  assert.deepEqual([lowest!.from, lowest!.count], [0, 1])
  assert.deepEqual([middle!.from, middle!.to, middle!.count, middle!.audits, middle!.agreed], [0.5, 0.6, 10, 0, 0.8])
  assert.ok(middle!.least > 0.45 && middle!.least < 0.8 && middle!.most > 0.8 && middle!.most < 1)
  assert.deepEqual([highest!.to, highest!.audits, highest!.most], [1, 1, 1])
})

const device = { site: 'plant-a', device: 'pi-1' }
const point = { ...device, point: 'motor-de' }
const key = 'plant-a/pi-1/motor-de'

function viewOf(...messages: Message[]): DecisionsView {
  const view = new DecisionsView()
  for (const message of messages) view.apply(message)
  return view
}

const heard = (payload: Inference): Message => ({
  kind: 'inference',
  address: { kind: 'inference', ...point },
  payload,
})
const state: Message = { kind: 'state', address: { kind: 'state', ...device }, payload: deviceState('press-1') }

function opened(view: DecisionsView, asked: Partial<Look> = {}) {
  const { rows, parts } = view.show(look.parse({ open: key, ...asked }))
  return { rows, open: parts.open as OpenDecisions, setting: parts.setting as Setting }
}

test('a point is there with its policy before its first window', () => {
  const { rows, open } = opened(viewOf(state))
  assert.deepEqual(
    rows.map(({ key, machine, policy, price, costs }) => ({ key, machine, policy, price, costs })),
    [{ key, machine: 'press-1', policy: 'threshold', price: null, costs: null }],
  )
  assert.equal(open.since, null)
})

test('with a price list amounts are in its currency, and what the device says of a revision is shown', () => {
  const at = '2026-01-01T12:00:00.000Z'
  const config = { policy: { name: 'calibrated', parameters: { missedFault: 1 } }, prices: priceList }
  const { rows, setting } = opened(
    viewOf(
      state,
      heard(window()),
      { kind: 'config-desired', address: { kind: 'config-desired', ...device }, payload: { revision: 3, config } },
      {
        kind: 'config-reported',
        address: { kind: 'config-reported', ...device },
        payload: { revision: 2, at, status: 'applied', config },
      },
    ),
  )
  assert.equal(rows[0]!.policy, 'calibrated')
  assert.equal(rows[0]!.price, price)
  // The dearest wrong answer of the list is a missed fault.
  assert.deepEqual(rows[0]!.money, { currency: 'EUR', unit: 2 })
  assert.deepEqual([setting.desired?.revision, setting.reported?.revision], [3, 2])
})

test('a refused configuration stays named, with the one in force, after it was taken back under its own revision', () => {
  const view = viewOf(state, heard(window()))
  const reports = (revision: number, error?: { code: string; message: string }) => {
    const address = { kind: 'config-reported', ...device } as const
    const at = '2026-01-01T12:00:00.000Z'
    const status = error ? 'refused' : 'applied'
    view.apply({
      kind: 'config-reported',
      address,
      payload: { revision, at, status, config: {}, ...(error && { error }) },
    })
    const { refused, inForce } = opened(view).setting
    return [refused?.revision, inForce]
  }
  const error = { code: 'CONFIG_INVALID', message: 'threshold: at most 1' }
  assert.deepEqual(reports(1), [undefined, 1])
  assert.deepEqual(reports(2, error), [2, 1])
  assert.deepEqual(reports(2), [2, 1])
  assert.deepEqual(reports(3, error), [3, 1])
  assert.deepEqual(reports(4), [undefined, 4])
})

test('windows of the time before are asked for once, and counted with those heard', () => {
  const view = viewOf(state, heard(window()))
  assert.ok(view.lacksPast(key) && view.since(key)! > 0)
  view.remember(key, { problem: 'away' })
  assert.equal(opened(view).open.incomplete, 'away')
  assert.ok(view.lacksPast(key), 'it may be there the next time')
  view.remember(key, [windowOf(audit('normal'))])
  assert.equal(view.lacksPast(key), false)
  const { open } = opened(view)
  assert.deepEqual([open.row.windows, open.counts.audits, open.incomplete], [2, 1, undefined])
})

test('the calibration of a bundle is found by the digest that a device gives, shortened or not', async () => {
  const calibrations = await readCalibrations([join(root, 'models', 'image-local')])
  const [digest] = [...calibrations.keys()]
  const running = deviceState('press-1')
  assert.ok(running.online)
  const short = {
    ...model,
    name: 'image-local',
    digest: digest!.slice(0, 19),
    task: 'x',
    engine: 'onnx',
    enginesRejected: [],
  }
  running.models = [{ ...short, role: 'local' }]
  const view = viewOf({ kind: 'state', address: { kind: 'state', ...device }, payload: running })
  assert.equal(opened(view).setting.calibration, null)
  view.calibrations = calibrations
  const { calibration } = opened(view).setting
  assert.ok(calibration!.reliability!.bins.length > 5)
})

test('a device that is cleared takes its points along', () => {
  const view = viewOf(state, heard(window()))
  view.clear({ kind: 'state', ...device })
  assert.deepEqual(opened(view).rows, [])
})
