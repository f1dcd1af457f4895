import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BearingSimulator, skf6205 } from '@faultline/inference'
import { type Escalation, encodeWindow, type Inference, type Message } from '@faultline/protocol'
import { type Look, look } from '../../flows/dashboard/look.ts'
import { type DecisionLine, MachineView } from '../../flows/dashboard/machine-view.ts'
import type { TrendPart } from '../../flows/dashboard/trend.ts'
import { alarmOf, inference } from './fixtures.ts'

const place = { site: 'plant-a', device: 'pi-1', point: 'motor-de' }
const server = {
  label: 'outer-race',
  confidence: 0.97,
  model: { name: 'big', version: '1', digest: 'sha256:0123456789ab' },
  agent: 'server-1',
}

/** A window of a bearing with a fault of its outer race, of which the device was not sure. */
function outerRaceEscalation(machine: string): Escalation {
  const simulator = new BearingSimulator({
    rateHz: 12_000,
    shaftHz: 29,
    fault: 'outer-race',
    seed: 1,
    severity: () => 1,
  })
  const window = { samples: simulator.next(2_048), shape: [2_048], rateHz: 12_000 }
  return {
    v: 1,
    id: 'asked',
    at: new Date().toISOString(),
    machine,
    reason: 'below-threshold',
    deadline: new Date(Date.now() + 5_000).toISOString(),
    task: 'bearing-fault',
    local: { label: 'normal', confidence: 0.55, probabilities: [0.55, 0.45], digest: 'sha256:0123456789ab' },
    window: encodeWindow(window),
    shaftHz: simulator.shaftHz,
    bearing: skf6205,
  }
}

const window = (payload: Inference, point = 'motor-de'): Message => ({
  kind: 'inference',
  address: { kind: 'inference', ...place, point },
  payload,
})

function viewOf(...messages: Message[]): MachineView {
  const view = new MachineView(() => [1.4, 2.8, 4.5])
  for (const message of messages) view.apply(message)
  return view
}

function shown(view: MachineView, asked: Partial<Look> = {}) {
  const { rows, parts } = view.show(look.parse({ open: 'plant-a/press-1', ...asked }))
  const isPart = (row: TrendPart | DecisionLine): row is TrendPart => 'values' in row
  return {
    trend: rows.filter(isPart),
    decisions: rows.filter((row): row is DecisionLine => !isPart(row)),
    ...parts,
  }
}

test('a machine nobody has spoken of has no point, and zones all the same', () => {
  const { point, points, zones, trend } = shown(viewOf())
  assert.deepEqual({ point, points, zones, trend }, { point: null, points: [], zones: [1.4, 2.8, 4.5], trend: [] })
})

test('a window adds to the last part of the trends alone, and the oldest part goes', () => {
  const view = viewOf(...Array.from({ length: 130 }, (_, i) => window(inference('normal', { features: { rms: i } }))))
  const before = shown(view).trend
  assert.deepEqual(
    before.map(({ values }) => values.rms.length),
    [50, 50, 30],
  )
  const copies = before.map(part => JSON.stringify(part))
  view.apply(window(inference('normal', { features: { rms: 0.123456, velocityRms: 2 } })))
  const after = shown(view).trend.map(part => JSON.stringify(part))
  assert.deepEqual(after.slice(0, 2), copies.slice(0, 2))
  assert.notEqual(after[2], copies[2])
  const last = shown(view).trend.at(-1)!
  assert.equal(last.values.rms.at(-1), 0.1235)
  assert.deepEqual(last.values.velocityRms.slice(-2), [null, 2])
  for (let i = 0; i < 1_000; i++) view.apply(window(inference('normal')))
  const { trend } = shown(view)
  assert.ok(trend.length === 12 && trend[0]!.key !== before[0]!.key)
})

test('the page is about the point that was chosen, and the first where none was', () => {
  const view = viewOf(window(inference('normal'), 'b'), window(inference('ball'), 'a'))
  assert.deepEqual(shown(view).points, ['pi-1 / a', 'pi-1 / b'])
  assert.equal(shown(view).decisions[0]?.label, 'ball')
  assert.equal(shown(view, { show: 'pi-1 / b' }).decisions[0]?.label, 'normal')
})

test('the newest escalation is drawn, with what the server said of it, then and not before', () => {
  const escalation = outerRaceEscalation('press-1')
  const view = viewOf({ kind: 'escalation', address: { kind: 'escalation', ...place }, payload: escalation })
  const { window: asked } = shown(view)
  assert.equal(asked!.waveform.length, 2_048)
  assert.ok(asked!.cursors.some(({ name }) => name === 'bpfo'))
  assert.equal(asked!.server, undefined)
  view.apply(window(inference('outer-race', { id: escalation.id, outcome: 'answered', server })))
  assert.deepEqual(shown(view).window!.server, { label: 'outer-race', confidence: 0.97 })
})

test('a verdict after the deadline takes the place of the decision it revises', () => {
  const late = inference('normal', { outcome: 'late' })
  const view = viewOf(
    window(late),
    window(inference('normal')),
    window(inference('ball', { revises: late.id, server })),
  )
  assert.deepEqual(
    shown(view).decisions.map(({ label }) => label),
    ['normal', 'ball'],
  )
})

test('alarms stand on the page until they are over or cleared', () => {
  const address = { kind: 'alarm', site: 'plant-a', machine: 'press-1', fault: 'ball' } as const
  const view = viewOf({ kind: 'alarm', address, payload: alarmOf('press-1', 'ball', 'unacknowledged') })
  assert.equal(shown(view).alarms.length, 1)
  view.clear(address)
  assert.equal(shown(view).alarms.length, 0)
})
