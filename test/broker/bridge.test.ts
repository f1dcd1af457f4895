import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type BridgeSettings, BrokerMetrics, type BrokerOptions, brokerConfig } from '@faultline/broker'
import { decodePayload, type Escalation, encodePayload, examples, newId, topicOf } from '@faultline/protocol'
import { checkConfig } from '@faultline/runtime'
import type { MqttClient } from 'mqtt'
import { Wire } from '../support/agent-broker.ts'
import { TestAuthority } from '../support/authority.ts'
import { logFile } from '../support/log-file.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { anna, plantA, server, startBroker, type TestBroker } from './harness.ts'

const { address } = examples['upstream-escalation']
const upstream = topicOf(address)
const escalationAbove = topicOf({ ...address, kind: 'escalation' })
const verdictAbove = topicOf({ ...address, kind: 'verdict' })
const verdictBelow = topicOf({ ...address, kind: 'upstream-verdict' })

function escalation(patienceMs = 60_000): Escalation {
  const at = new Date()
  const deadline = new Date(at.getTime() + patienceMs).toISOString()
  return { ...examples['upstream-escalation'].payload, id: newId(), at: at.toISOString(), deadline }
}

const patienceOf = ({ at, deadline }: Escalation): number => Date.parse(deadline) - Date.parse(at)

const ask = (client: MqttClient, payload: Escalation, topic = upstream) =>
  client.publishAsync(topic, encodePayload('upstream-escalation', payload), { qos: 1 })

/** A broker above that takes plant-a by its certificate alone, one below, and the wire between them. */
async function prepare(t: TestContext, waiting: Partial<BridgeSettings> = {}) {
  const authority = await TestAuthority.create(await temporaryDirectory(t))
  const pair = await authority.server()
  const tls = { host: '127.0.0.1', port: 0, ca: authority.ca, clientCertificates: 'required', ...pair } as const
  const above = await startBroker(t, { tls })
  const wire = new Wire({ port: above.broker.tlsPort })
  await wire.start()
  t.after(() => wire.stop())
  const bridge: BridgeSettings = {
    site: 'plant-a',
    url: wire.url.replace('mqtt:', 'mqtts:'),
    ca: authority.ca,
    ...(await authority.client(plantA, above.registry)),
    maxMessages: 100,
    maxBytes: 1_000_000,
    ...waiting,
  }
  const start = (options: Partial<BrokerOptions> = {}) => startBroker(t, { bridge, ...options })
  return { above, wire, start }
}

/** Escalations and verdicts as an operator sees them; `until` waits for so many. */
async function watch(broker: TestBroker, filter: string) {
  const client = await broker.connect(anna)
  const seen: { topic: string; payload: Buffer; qos: number }[] = []
  const arrivals = new EventEmitter()
  client.on('message', (topic, payload, { qos }) => {
    seen.push({ topic, payload, qos })
    arrivals.emit('message')
  })
  await client.subscribeAsync(filter, { qos: 1 })
  const until = async (count: number) => {
    const signal = AbortSignal.timeout(20_000)
    while (seen.length < count) await once(arrivals, 'message', { signal })
    return seen
  }
  return { seen, until }
}

test('escalations go up and verdicts come down over mutual TLS, those of the own site alone', async t => {
  const { above, start } = await prepare(t)
  const site = await start()
  const [top, bottom] = [await watch(above, escalationAbove.replace('plant-a', '+')), await watch(site, verdictBelow)]
  const asker = await site.connect(server)
  const first = escalation()
  await ask(asker, escalation(), upstream.replace('plant-a', 'plant-b'))
  await ask(asker, first)
  await top.until(1)
  assert.equal(top.seen[0]!.topic, escalationAbove)
  assert.equal(top.seen[0]!.qos, 1)
  const arrived = decodePayload('escalation', top.seen[0]!.payload)
  assert.deepEqual({ ...arrived, deadline: '' }, { ...first, deadline: '' })
  assert.ok(patienceOf(arrived) <= patienceOf(first) && patienceOf(arrived) > patienceOf(first) - 20_000)

  const verdict = encodePayload('verdict', { ...examples.verdict.payload, id: first.id })
  const answerer = await above.connect(server)
  await answerer.publishAsync(verdictAbove.replace('plant-a', 'plant-b'), verdict, { qos: 1 })
  await answerer.publishAsync(verdictAbove, verdict, { qos: 1 })
  const [came] = await bottom.until(1)
  assert.deepEqual(JSON.parse(came!.payload.toString()), JSON.parse(verdict.toString()))
  // What came down does not go up again, nor what went up come down.
  await ask(asker, escalation())
  await top.until(2)
  assert.equal(top.seen.length, 2)
  assert.equal(bottom.seen.length, 1)
  // It is counted when the upstream broker has acknowledged it, which a subscriber may hear of before.
  while (site.broker.bridge!.counts.up < 2) await new Promise(setImmediate)
  assert.deepEqual(site.broker.bridge!.counts, { up: 2, down: 1, dropped: 0, expired: 0, refused: 0 })
})

test('while the link is down escalations wait within bounds, each for as long as its sender does', async t => {
  const { above, wire, start } = await prepare(t, { maxMessages: 4 })
  wire.sever()
  const log = await logFile(t)
  const site = await start({ logger: log.logger })
  const asker = await site.connect(server)
  const oldest = [escalation(), escalation()]
  const rest = [escalation(), escalation(), escalation()]
  for (const each of [...oldest, ...rest, escalation(1)]) await ask(asker, each)
  assert.equal(site.broker.bridge!.online, false)
  const top = await watch(above, escalationAbove)
  wire.mend()
  await top.until(rest.length)
  const arrived = top.seen.map(({ payload }) => decodePayload('escalation', payload))
  assert.deepEqual(
    arrived.map(({ id }) => id),
    rest.map(({ id }) => id),
  )
  for (const [i, each] of arrived.entries()) assert.ok(patienceOf(each) < patienceOf(rest[i]!), 'it waited')
  while (site.broker.bridge!.queued > 0) await delay(20)
  const { dropped, expired } = site.broker.bridge!.counts
  assert.deepEqual({ dropped, expired }, { dropped: 2, expired: 1 })
  const metrics = await new BrokerMetrics(site.broker).registry.metrics()
  for (const line of [
    'connected 1',
    'waiting 0',
    'messages_total{what="dropped"} 2',
    'messages_total{what="expired"} 1',
  ])
    assert.ok(metrics.includes(`faultline_broker_bridge_${line}\n`), line)
  const logged = log.lines().filter(({ msg }) => msg === 'escalation for the upstream broker dropped')
  assert.equal(logged.filter(line => 'reason' in line && line.reason === 'dropped').length, 1)
})

test('what is asked while the link breaks and comes back arrives', async t => {
  const { above, wire, start } = await prepare(t)
  const site = await start()
  const top = await watch(above, escalationAbove)
  const asker = await site.connect(server)
  const asked = Array.from({ length: 30 }, () => escalation())
  for (const [i, each] of asked.entries()) {
    if (i % 10 === 5) wire.cut()
    await ask(asker, each)
  }
  const arrived = new Set<string>()
  for (let count = asked.length; arrived.size < asked.length; count++) {
    for (const { payload } of await top.until(count)) arrived.add(decodePayload('escalation', payload).id)
  }
  assert.deepEqual([...arrived].sort(), asked.map(({ id }) => id).sort())
})

test('a payload that is no escalation is not carried', async t => {
  const { above, start } = await prepare(t)
  const site = await start()
  const top = await watch(above, escalationAbove)
  const asker = await site.connect(server)
  await asker.publishAsync(upstream, 'no CBOR', { qos: 1 })
  await ask(asker, escalation())
  await top.until(1)
  assert.equal(top.seen.length, 1)
})

test('the bounds of a bridge are read under their earlier names', () => {
  const bridge = { url: 'mqtt://127.0.0.1', secret: 's', site: 'plant-a', waitingMessages: 5, waitingBytes: 65_536 }
  const renamed: string[] = []
  const config = checkConfig(brokerConfig, { bridge }, 'broker.yaml', ({ from }) => renamed.push(from.join('.')))
  assert.deepEqual([config.bridge?.maxMessages, config.bridge?.maxBytes], [5, 65_536])
  assert.deepEqual(renamed, ['bridge.waitingMessages', 'bridge.waitingBytes'])
})
