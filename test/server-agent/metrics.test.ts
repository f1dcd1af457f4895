import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { identityOf, isRejected } from '@faultline/protocol'
import { createLogger, MqttSession, silentLogger } from '@faultline/runtime'
import { InProcessHost, ServerMetrics } from '@faultline/server-agent'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { TinyServerModel } from '../support/tiny-models.ts'
import { queued } from './fake-host.ts'

test('the metrics say what the agent has done, and the log follows an escalation by its id', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const host = new InProcessHost([new TinyServerModel()])
  const file = join(await temporaryDirectory(t), 'server.log')
  const logger = createLogger('server-agent', { level: 'debug', file })
  const agent = await startServer(t, broker, { host, logger })
  const { registry } = new ServerMetrics(agent, host)
  const read = async (series: string): Promise<number> => {
    const line = (await registry.metrics()).split('\n').find(text => text.startsWith(`faultline_server_${series} `))
    return Number(line?.split(' ')[1])
  }
  assert.equal(await read('rejected_total{task="bearing-fault",reason="overloaded"}'), 0)
  const identity = identityOf('device', site, device)
  const session = new MqttSession({ ...broker, url: broker.url, identity, subscriptions: [], logger: silentLogger })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline(AbortSignal.timeout(20_000))
  const items = [queued(), queued(), queued({ task: 'pump-fault' })]
  for (const { escalation } of items) await session.publish({ kind: 'escalation', site, device, point }, escalation)
  await watcher.see('verdict', verdict => !isRejected(verdict), 2)
  await watcher.see('verdict', isRejected)
  assert.equal(await read('answered_total{task="bearing-fault",model="tiny-server:1.0.0"}'), 2)
  assert.equal(await read('rejected_total{task="other",reason="no-model"}'), 1)
  assert.equal(await read('queue_seconds_count{task="bearing-fault"}'), 2)
  assert.equal(await read('batch_windows_sum{task="bearing-fault"}'), 2)
  assert.ok((await read('inference_seconds_count{task="bearing-fault"}')) >= 1)
  assert.equal(await read('queued{task="bearing-fault"}'), 0)
  assert.equal(await read('workers{state="ready"}'), 1)
  const lines = (await readFile(file, 'utf8')).trim().split('\n')
  const said = (id: string) => lines.filter(line => line.includes(id)).map(line => JSON.parse(line).msg)
  assert.deepEqual(said(items[0]!.escalation.id), ['escalation taken', 'escalation answered'])
  assert.deepEqual(said(items[2]!.escalation.id), ['escalation taken', 'escalation rejected'])
})

test('an agent is ready while it is connected and has a worker', async t => {
  const broker = await startAgentBroker(t)
  const agent = await startServer(t, broker)
  assert.deepEqual(agent.notReady(), [])
  await agent.stop()
  assert.deepEqual(agent.notReady(), ['not connected to the broker'])
})
