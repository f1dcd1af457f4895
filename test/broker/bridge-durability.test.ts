import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { BridgeSettings } from '@faultline/broker'
import { decodePayload, encodePayload, examples, newId, topicOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import mqtt from 'mqtt'
import { Wire } from '../support/agent-broker.ts'
import { MortalBroker } from '../support/mortal-broker.ts'
import { missing } from '../support/programs.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { anna, collect, connected, credentials, plantA, server, startBroker, type TestBroker } from './harness.ts'

const { address } = examples['upstream-escalation']
const upstream = topicOf(address)
const above = topicOf({ ...address, kind: 'escalation' })

/** An escalation whose sender waits for ten minutes. */
function escalation() {
  const at = new Date()
  const deadline = new Date(at.getTime() + 600_000).toISOString()
  return { ...examples['upstream-escalation'].payload, id: newId(), at: at.toISOString(), deadline }
}

/** An upstream broker that is away until its wire is mended, what a bridge to it needs, and what arrives there. */
async function startUpstream(t: TestContext) {
  const broker = await startBroker(t)
  const wire = new Wire({ port: broker.broker.port })
  await wire.start()
  t.after(() => wire.stop())
  wire.sever()
  const bridge: BridgeSettings = {
    site: 'plant-a',
    url: wire.url,
    secret: broker.secrets.get(plantA.name)!,
    maxMessages: 10_000,
    maxBytes: 67_108_864,
  }
  const watcher = await broker.connect(anna)
  const arrived: string[] = []
  watcher.on('message', (_, payload) => arrived.push(decodePayload('escalation', payload).id))
  const { until } = collect(watcher)
  await watcher.subscribeAsync(above, { qos: 1 })
  /** Resolves when all of these have arrived, however often. */
  const all = async (ids: readonly string[]) => {
    const missing = () => ids.filter(id => !arrived.includes(id)).length
    for (let left = missing(); left > 0; left = missing()) await until(arrived.length + left)
  }
  return { broker, wire, bridge, arrived, all }
}

/** Resolves with their ids once all are acknowledged. */
async function ask(client: mqtt.MqttClient, count: number): Promise<string[]> {
  const asked = Array.from({ length: count }, escalation)
  await Promise.all(
    asked.map(each => client.publishAsync(upstream, encodePayload('upstream-escalation', each), { qos: 1 })),
  )
  return asked.map(({ id }) => id)
}

test('what was acknowledged while the upstream broker was away arrives, over kill -9 of the broker', async t => {
  const { wire, bridge, all } = await startUpstream(t)
  const directory = await temporaryDirectory(t)
  const registry = new Registry(join(directory, 'registry.db'))
  await registry.start()
  const { secret } = await registry.enroll(server)
  await registry.stop()
  const files = { registry: join(directory, 'registry.db'), store: join(directory, 'broker.db') }
  const site = new MortalBroker(t, directory, { ...files, bridge: { ...bridge, keepAliveS: 15 } })
  await site.start()
  const client = mqtt.connect(`mqtt://127.0.0.1:${site.port}`, {
    ...credentials(server, new Map([[server.name, secret]])),
    reconnectPeriod: 0,
  })
  t.after(() => client.end(true))
  await connected(client)
  client.on('error', () => {}) // The broker is killed.
  const asked = await ask(client, 1_500)
  await site.kill()
  await site.start()
  wire.mend()
  await all(asked)
})

test('what was acknowledged above and below is not carried again after a restart', async t => {
  const { wire, bridge, arrived, all } = await startUpstream(t)
  const store = join(await temporaryDirectory(t), 'broker.db')
  const site = await startBroker(t, { bridge, store })
  const [first] = await ask(await site.connect(server), 1)
  wire.mend()
  await all([first!])
  await emptied(site)
  await site.broker.stop()
  const again = await startBroker(t, { bridge, store })
  const [second] = await ask(await again.connect(server), 1)
  await all([second!])
  assert.deepEqual(arrived, [first, second])
})

test('a broker whose bridge is taken away forgets what waited for it, and keeps nothing more', async t => {
  const { bridge } = await startUpstream(t)
  const store = join(await temporaryDirectory(t), 'broker.db')
  const site = await startBroker(t, { bridge, store })
  await ask(await site.connect(server), 3)
  assert.equal(site.broker.engine!.persistence.queued.messages, 3)
  await site.broker.stop()
  const without = await startBroker(t, { store })
  await ask(await without.connect(server), 1)
  assert.equal(without.broker.engine!.persistence.queued.messages, 0)
})

test('a verdict that cannot be stored is not acknowledged to the upstream broker, which sends it again', async t => {
  const { broker, wire, bridge } = await startUpstream(t)
  wire.mend()
  const site = await startBroker(t, { bridge })
  while (!site.broker.bridge!.online) await delay(20)
  const client = await site.connect(anna)
  const arrived = collect(client)
  await client.subscribeAsync(topicOf({ ...address, kind: 'upstream-verdict' }), { qos: 1 })
  const { persistence } = site.broker.engine!
  const store = persistence.store.bind(persistence)
  let failures = 0
  persistence.store = (packet, done) => {
    if (failures++ > 1) store(packet, done)
    else setImmediate(() => done(new Error('no space left')))
  }
  const answerer = await broker.connect(server)
  const verdict = encodePayload('verdict', examples.verdict.payload)
  await answerer.publishAsync(topicOf({ ...address, kind: 'verdict' }), verdict, { qos: 1 })
  await arrived.until(1)
  assert.equal(failures, 3)
  assert.equal(site.broker.bridge!.counts.down, 1)
})

test('verdicts that are given while the link is down come down when it is back', async t => {
  const { broker, wire, bridge } = await startUpstream(t)
  wire.mend()
  const site = await startBroker(t, { bridge })
  while (!site.broker.bridge!.online) await delay(20)
  const client = await site.connect(anna)
  const arrived = collect(client)
  await client.subscribeAsync(topicOf({ ...address, kind: 'upstream-verdict' }), { qos: 1 })
  wire.sever()
  while (site.broker.bridge!.online) await delay(20)
  const answerer = await broker.connect(server)
  const verdict = encodePayload('verdict', examples.verdict.payload)
  await answerer.publishAsync(topicOf({ ...address, kind: 'verdict' }), verdict, { qos: 1 })
  wire.mend()
  await arrived.until(1)
})

test('of a cluster, the broker with the bridge carries what the others acknowledged while it was away', {
  skip: missing('redis-server'),
}, async t => {
  const { wire, bridge, all } = await startUpstream(t)
  const redis = (await startRedis(t)).url
  const [other, first] = [await startBroker(t, { redis }), await startBroker(t, { redis, bridge })]
  const asker = await other.connect(server)
  const asked = await ask(asker, 10)
  await first.broker.stop()
  asked.push(...(await ask(asker, 10)))
  wire.mend()
  const again = await startBroker(t, { redis, bridge })
  asked.push(...(await ask(asker, 10)))
  await all(asked)
  await emptied(again)
})

/** Resolves when nothing waits any more, here and in the store. */
async function emptied({ broker }: TestBroker): Promise<void> {
  const signal = AbortSignal.timeout(20_000)
  const { persistence } = broker.engine!
  const waiting = async () => {
    for await (const _ of persistence.outgoingStream({ id: '$bridge/plant-a' })) return true
    return broker.bridge!.queued > 0
  }
  while (await waiting()) {
    signal.throwIfAborted()
    await delay(20)
  }
}
