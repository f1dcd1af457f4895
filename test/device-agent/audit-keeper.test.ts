import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { DecisionContext } from '@faultline/inference'
import { examples, type Health, upperBound } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { AuditKeeper } from '../../device-agent/decisions/audit-keeper.ts'
import type { WindowRecord } from '../../device-agent/decisions/window-record.ts'
import { openStorage, Settings } from '../../device-agent/spool/storage.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, machine, point, site, startDevice, startServer, startVoice } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample, tinyLocalModel } from '../support/tiny-models.ts'

const classifier = { ...tinyLocalModel, bundle: { description: { normal: 'normal', calibration: {} } } }
/** Accepts everything, and audits all of it. */
const audited = { classifier, policy: { name: 'never', parameters: {} }, auditRate: 1 }
const account = (silent: number, missed: number, audits = silent, wrong = missed): Health['audited'] => [
  { machine, audits, silent, missed, wrong, missedAtMost: Number(upperBound(missed, silent).toPrecision(5)) },
]

test('health says what audits found, per machine, and goes on after a restart', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const dataDirectory = await temporaryDirectory(t)
  const edge = await startDevice(t, broker, { ...audited, dataDirectory, healthIntervalS: 0.05 })
  await edge.online()
  assert.deepEqual(edge.agent.health!.audited, account(0, 0))
  // Normal to both; normal to the device and a fault to the server; a fault to both.
  await edge.infer(sample.normal, sample.doubtful, sample.fault)
  assert.deepEqual(edge.agent.health!.audited, account(2, 1, 3))
  const watcher = await observe(t, broker)
  assert.deepEqual((await watcher.seeOne('health')).audited, account(2, 1, 3))
  await edge.agent.stop()

  const again = await startDevice(t, broker, { ...audited, dataDirectory })
  await again.online()
  await again.infer(sample.normal)
  assert.deepEqual(again.agent.health!.audited, account(3, 1, 4))
  await again.agent.stop()

  const model = { ...classifier.model, digest: `sha256:${'9'.repeat(64)}` }
  const other = await startDevice(t, broker, { ...audited, classifier: { ...classifier, model }, dataDirectory })
  assert.deepEqual(other.agent.health!.audited, account(0, 0))
})

test('an audit that nobody answers does not count, one that is answered late counts once', async t => {
  const broker = await startAgentBroker(t)
  const edge = await startDevice(t, broker, { ...audited, deadlineMs: 60 })
  await edge.infer(sample.normal)
  const watcher = await observe(t, broker)
  const voice = await startVoice(t, broker)
  await edge.online()
  await edge.infer(sample.doubtful)
  assert.deepEqual(edge.agent.health!.audited, account(0, 0))
  assert.equal(edge.counters.late, 1)
  // Said by hand: a server agent would not begin with a window that has expired.
  const { id } = await watcher.seeOne('escalation', ({ reason }) => reason === 'audit')
  const verdict = { ...examples.verdict.payload, id, label: 'fault' }
  await voice.publish({ kind: 'verdict', site, device, point }, verdict)
  const [, , revision] = await edge.inferred(3)
  assert.equal(revision?.outcome, 'late')
  assert.deepEqual(edge.agent.health!.audited, account(1, 1))
})

test('what the policy itself escalates is no audit', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const edge = await startDevice(t, broker, { ...audited, policy: { name: 'always', parameters: {} } })
  await edge.online()
  await edge.infer(sample.normal)
  assert.deepEqual(edge.agent.health!.audited, account(0, 0))
})

test('audits reported by exception are published one by one', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const edge = await startDevice(t, broker, { ...audited, reporting: 'exception' })
  await edge.online()
  const watcher = await observe(t, broker)
  await edge.infer(sample.normal, sample.normal, sample.normal)
  assert.equal((await watcher.see('inference', ({ reason }) => reason === 'audit', 3)).length, 3)
})

const hourMs = 3_600_000
const decision = { action: 'accept', reason: 'confident', numbers: {} } as const

/** A keeper of two machines, of which one accepts a window as normal every hour. */
async function pacedKeeper(t: Parameters<typeof temporaryDirectory>[0], hours: number) {
  const database = openStorage(await temporaryDirectory(t))
  t.after(() => database.close())
  const points = [
    { point: 'motor-de', machine: 'press-1' },
    { point: 'fan-de', machine: 'fan-1' },
  ]
  const keeper = new AuditKeeper({ settings: new Settings(database), model: classifier, points, logger: silentLogger })
  for (let hour = 0; hour < hours; hour++)
    for (const label of ['normal', 'fault'])
      keeper.decided({
        ...points[0]!,
        at: new Date(hour * hourMs),
        assessment: { local: { label }, decision },
      } as unknown as WindowRecord)
  return keeper
}

test('a promise sets the rate of each machine by how many windows it accepts as normal', async t => {
  const target = { missedFaultsAtMost: 0.05, withinDays: 10 }
  const rate = (await pacedKeeper(t, 48)).rate(target) as (context: DecisionContext) => number
  const at = (point: string) => rate({ price: 0.2, point })
  // 59 audits of 24 windows a day for ten days.
  assert.ok(Math.abs(at('motor-de') - 59 / 240) < 1e-9, String(at('motor-de')))
  assert.equal(at('fan-de'), 0.01)
  const early = (await pacedKeeper(t, 5)).rate(target) as typeof rate
  assert.equal(early({ price: 0.2, point: 'motor-de' }), 0.01)
})

test('a fixed rate stays what it is', async t => {
  assert.equal((await pacedKeeper(t, 48)).rate(0.3), 0.3)
})

test('a damaged account is counted anew', async t => {
  const database = openStorage(await temporaryDirectory(t))
  t.after(() => database.close())
  const settings = new Settings(database)
  settings.write('audits', { version: 7 })
  const points = [{ point: 'motor-de', machine }]
  const keeper = new AuditKeeper({ settings, model: classifier, points, logger: silentLogger })
  assert.deepEqual(keeper.accounts, account(0, 0))
})
