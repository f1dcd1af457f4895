import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { identityOf, isRejected } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { ServerMetrics } from '@faultline/server-agent'
import { Shadow, type ShadowReport } from '../../server-agent/shadow.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { tinyTask } from '../support/tiny-models.ts'
import { FakeHost, queued, shadowWorker } from './fake-host.ts'

const ofShadow = (host: FakeHost) => host.begun.filter(({ worker }) => worker === shadowWorker)

test('a shadow is asked about what was answered: devices hear nothing of it, the metrics tell where the two differ', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const host = new FakeHost()
  const shadow = host.addShadow(tinyTask)
  const agent = await startServer(t, broker, { host })
  const { registry } = new ServerMetrics(agent, host)
  const reports: ShadowReport[] = []
  agent.on('shadow', report => reports.push(report))
  const identity = identityOf('device', site, device)
  const session = new MqttSession({ ...broker, url: broker.url, identity, subscriptions: [], logger: silentLogger })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline(AbortSignal.timeout(20_000))
  const escalate = async () => {
    const { escalation } = queued()
    await session.publish({ kind: 'escalation', site, device, point }, escalation)
    return escalation.id
  }

  const first = await escalate()
  const [answering] = await host.batches(1)
  answering!.answer('fault')
  // The verdict is there although the shadow never ends.
  const verdict = await watcher.seeOne('verdict')
  assert.ok(!isRejected(verdict) && verdict.model.digest !== shadow.model.digest)
  const asked = (await host.batches(2))[1]!
  assert.deepEqual([asked.worker, asked.digest], [shadowWorker, shadow.model.digest])

  const second = await escalate()
  const again = (await host.batches(3))[2]!
  assert.notEqual(again.worker, shadowWorker)
  again.answer('fault')
  await watcher.see('verdict', () => true, 2)
  asked.answer('normal')
  const last = (await host.batches(4))[3]!
  last.answer('fault')
  while (reports.length < 2) await once(agent, 'shadow', { signal: AbortSignal.timeout(20_000) })
  assert.deepEqual(
    reports.map(({ id, outcome, answer }) => [id, outcome, answer?.label]),
    [
      [first, 'disagreed', 'normal'],
      [second, 'agreed', 'fault'],
    ],
  )
  const text = await registry.metrics()
  const labels = `task="${tinyTask}",model="fake-${tinyTask}:1.0.0",shadow="shadow-${tinyTask}:2.0.0"`
  for (const series of [
    `shadow_windows_total{${labels},outcome="agreed"} 1`,
    `shadow_windows_total{${labels},outcome="disagreed"} 1`,
    `shadow_disagreements_total{${labels},answered="fault",shadowed="normal"} 1`,
    `shadow_inference_seconds_count{task="${tinyTask}",shadow="shadow-${tinyTask}:2.0.0"} 2`,
    `models{task="${tinyTask}",model="shadow-${tinyTask}:2.0.0",role="shadow"} 1`,
  ])
    assert.ok(text.includes(`faultline_server_${series}\n`), series)
  const state = await watcher.seeOne('server-state')
  assert.ok(state.online)
  assert.deepEqual(
    state.models.map(({ digest, shadow }) => [digest, shadow]),
    [
      [host.models.get(tinyTask)!.model.digest, undefined],
      [shadow.model.digest, true],
    ],
  )
  assert.equal(watcher.of('verdict').length, 2)
})

test('while windows wait for a worker no shadow is asked, and what does not fit is dropped', async () => {
  const host = new FakeHost()
  host.addShadow(tinyTask)
  const reports: ShadowReport[] = []
  let busy = true
  const report = (told: ShadowReport) => void reports.push(told)
  const shadow = new Shadow({ host, busy: () => busy, report, logger: silentLogger })
  const { model } = host.models.get(tinyTask)!
  const offer = () => {
    const item = queued()
    const { id } = item.escalation
    const answer = { label: 'fault', confidence: 0.9, probabilities: [0.1, 0.9] }
    shadow.offer(item, { id, ...answer, model, agent: 'server-1', queueMs: 0, inferMs: 1 })
    return id
  }
  const kept = Array.from({ length: 256 }, offer)
  const dropped = [offer(), offer()]
  assert.deepEqual(
    reports.map(({ id, outcome }) => [id, outcome]),
    dropped.map(id => [id, 'dropped']),
  )
  assert.deepEqual(ofShadow(host), [])
  busy = false
  offer()
  const [begun] = await host.batches(1)
  assert.equal(begun!.jobs.length, 8)
  // A worker that ends takes its windows with it; nobody waits for them.
  begun!.fail(new Error('the worker ended'))
  await host.batches(2)
  const lost = reports.slice(-8).map(({ id, outcome }) => [id, outcome])
  assert.deepEqual(
    lost,
    kept.slice(0, 8).map(id => [id, 'dropped']),
  )
})
