import assert from 'node:assert/strict'
import { once } from 'node:events'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import type { ConfigReported, RuntimeConfig } from '@faultline/protocol'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, site, startDevice, startServer, type TestDevice } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample } from '../support/tiny-models.ts'

const desired = { kind: 'config-desired', site, device } as const

async function connectedDevice(t: TestContext, options: Parameters<typeof startDevice>[2] = {}) {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const dataDirectory = await temporaryDirectory(t)
  const edge = await startDevice(t, broker, { dataDirectory, ...options })
  await edge.online()
  let last = 0
  const desire = async (config: RuntimeConfig, revision = ++last): Promise<ConfigReported> => {
    last = revision
    const answered = once(edge.agent, 'configured', { signal: AbortSignal.timeout(20_000) })
    await watcher.session.publish(desired, { revision, config })
    return ((await answered) as [ConfigReported])[0]
  }
  return { broker, watcher, edge, desire, dataDirectory }
}

test('the configuration in force is reported before anybody asked for another', async t => {
  const { watcher } = await connectedDevice(t)
  const report = await watcher.seeOne('config-reported')
  assert.equal(report.revision, 0)
  assert.equal(report.config.policy?.name, 'threshold')
  assert.equal(report.config.deadlineMs, 5_000)
})

test('a configuration is applied from the next window on and reported', async t => {
  const { edge, desire, watcher } = await connectedDevice(t)
  assert.equal((await edge.infer(sample.normal))[0]?.outcome, 'accepted')
  const report = await desire({ policy: { name: 'always', parameters: {} }, deadlineMs: 50 })
  assert.equal(report.status, 'applied')
  assert.equal(report.config.deadlineMs, 50)
  assert.equal(report.config.price, 0.2)
  assert.equal((await edge.infer(sample.normal))[0]?.outcome, 'late')
  await watcher.seeOne('state', state => state.online && state.policy.name === 'always')
  await watcher.seeOne('config-reported', ({ revision }) => revision === 1)
})

test('a configuration is refused as a whole, with the reason, and changes nothing', async t => {
  const { edge, desire } = await connectedDevice(t)
  const report = await desire({ price: 0.5, policy: { name: 'oracle', parameters: {} } })
  assert.equal(report.status, 'refused')
  assert.equal(report.error?.code, 'POLICY_UNKNOWN')
  assert.equal(report.config.price, 0.2)
  const [inference] = await edge.infer(sample.normal)
  assert.equal(inference?.numbers?.price, 0.2)
  const wrong = await desire({ policy: { name: 'threshold', parameters: { threshold: 7 } } })
  assert.match(wrong.error?.message ?? '', /threshold/)
})

test('a payload that does not fit the schema is refused under its own revision', async t => {
  const { edge, watcher } = await connectedDevice(t)
  const answered = once(edge.agent, 'configured')
  await watcher.session.publishRaw(desired, Buffer.from('{"revision": 9, "config": {"price": -1}}'))
  const [report] = (await answered) as [ConfigReported]
  assert.equal(report.status, 'refused')
  assert.equal(report.revision, 9)
  assert.match(report.error?.message ?? '', /price/)
  const again = once(edge.agent, 'configured')
  await watcher.session.publishRaw(desired, Buffer.from('not json'))
  assert.equal(((await again) as [ConfigReported])[0].error?.code, 'MESSAGE_MALFORMED')
})

test('an older revision is refused', async t => {
  const { desire } = await connectedDevice(t)
  await desire({ price: 0.3 }, 5)
  const report = await desire({ price: 0.4 }, 4)
  assert.equal(report.status, 'refused')
  assert.equal(report.config.price, 0.3)
})

test('the last configuration applied outlives a restart without a connection', async t => {
  const { edge, desire, broker, dataDirectory } = await connectedDevice(t)
  await desire({ policy: { name: 'always', parameters: {} } }, 3)
  await edge.agent.stop()
  await broker.stop()
  const again = await startDevice(t, broker, { dataDirectory })
  assert.equal((await again.infer(sample.normal))[0]?.outcome, 'offline')
})

test('a kept configuration that is no longer valid gives way to the file', async t => {
  const { edge, desire, broker, dataDirectory } = await connectedDevice(t)
  await desire({ policy: { name: 'always', parameters: {} } })
  await edge.agent.stop()
  await broker.stop()
  for (const kept of ['{"revision":1,"config":{"policy":{"name":"oracle","parameters":{}}}}', '{"revision":']) {
    const database = new DatabaseSync(`${dataDirectory}/agent.db`)
    database.prepare("UPDATE settings SET value = ? WHERE name = 'configuration'").run(kept)
    database.close()
    const again = await startDevice(t, broker, { dataDirectory })
    assert.equal((await again.infer(sample.normal))[0]?.outcome, 'accepted')
    await again.agent.stop()
  }
})

test('health follows a new interval, and reporting a new mode', async t => {
  const { edge, desire, watcher } = await connectedDevice(t)
  await desire({ healthIntervalS: 0.05, reporting: 'exception', summaryIntervalS: 0.05 })
  await watcher.seeOne('health')
  await edge.infer(...Array<number>(4).fill(sample.normal))
  const summary = await watcher.seeOne('summary')
  assert.ok(summary.windows >= 1)
  assert.equal(watcher.of('inference').length, 1)
})

test('another price does not make a policy forget', async t => {
  const { broker, edge, desire } = await connectedDevice(t, { auditRate: 0.5, seed: 7 })
  await startServer(t, broker)
  const reasons: string[] = []
  const infer = async (device: TestDevice, count: number) => {
    for (let i = 0; i < count; i++) reasons.push((await device.infer(sample.normal))[0]!.reason)
  }
  await infer(edge, 12)
  assert.equal((await desire({ price: 0.3 })).status, 'applied')
  await infer(edge, 12)
  const interrupted = reasons.splice(0)
  await edge.agent.stop()
  const other = await startDevice(t, broker, { auditRate: 0.5, seed: 7 })
  await other.online()
  await infer(other, 24)
  // Which windows are audited follows from the seed alone: a policy that began anew would begin these anew.
  assert.deepEqual(interrupted, reasons)
  assert.notDeepEqual(reasons.slice(0, 12), reasons.slice(12))
})
