import assert from 'node:assert/strict'
import type { TestContext } from 'node:test'
import type { IPublishPacket } from 'mqtt-packet'
import { testEachStore } from './each-store.ts'
import { anna, press, type TestBroker } from './harness.ts'
import { connectPacket, connectRaw, type RawClient } from './raw-client.ts'

type Qos = 0 | 1 | 2

const state = `faultline/v1/${press.name}/state`
const wide = 'faultline/v1/devices/+/+/state'
const all = 'faultline/v1/#'

/** A tool of the operator, who speaks for itself and acknowledges nothing unless told to. */
async function connectTool(
  t: TestContext,
  { broker, secrets }: TestBroker,
  { name = 'tool', clean = false } = {},
): Promise<RawClient> {
  const [username, password] = [anna.name, Buffer.from(secrets.get(anna.name)!)]
  const clientId = `${anna.name}/${name}`
  const client = await connectRaw(t, broker.port, { ...connectPacket, clientId, username, password, clean })
  assert.equal((await client.next('connack')).returnCode, 0)
  return client
}

async function subscribe(client: RawClient, ...subscriptions: [topic: string, qos: Qos][]): Promise<void> {
  for (const [topic, qos] of subscriptions) {
    client.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos }] })
    await client.next('suback')
  }
}

/** So many messages, and those that come until the broker has answered a few pings, of which there should be none. */
async function received(client: RawClient, count = 0): Promise<IPublishPacket[]> {
  const messages: IPublishPacket[] = []
  while (messages.length < count) messages.push(await client.next('publish'))
  for (let pings = 0; pings < 3; pings++) {
    client.send({ cmd: 'pingreq' })
    let packet = await client.take()
    while (packet.cmd !== 'pingresp') {
      if (packet.cmd === 'publish') messages.push(packet)
      packet = await client.take()
    }
  }
  return messages
}

/** Completes the exchange of a message. */
async function complete(client: RawClient, { qos, messageId }: IPublishPacket): Promise<void> {
  if (qos === 1) client.send({ cmd: 'puback', messageId: messageId! })
  if (qos !== 2) return
  client.send({ cmd: 'pubrec', messageId: messageId! })
  assert.equal((await client.next('pubrel')).messageId, messageId)
  client.send({ cmd: 'pubcomp', messageId: messageId! })
}

const summary = ({ payload, qos, retain, dup }: IPublishPacket) => ({ payload: String(payload), qos, retain, dup })

/** Resolves once nothing waits in any queue. */
async function emptied({ broker }: TestBroker): Promise<void> {
  const { persistence } = broker.engine!
  const signal = AbortSignal.timeout(10_000)
  do {
    signal.throwIfAborted()
    await persistence.expireQueued() // In a cluster, figures are a few seconds old before that.
  } while (persistence.queued.messages > 0)
}

testEachStore(
  'a message comes once, at the highest QoS of the subscriptions that match it (3.3.5-1)',
  async (start, t) => {
    const broker = await start({ limits: { sessionsPerIdentity: 1_000 } })
    const device = await broker.connect(press)
    const filters = [state, wide, all]
    const levels: Qos[] = [0, 1, 2]
    const combinations = levels.flatMap(first =>
      levels.flatMap(second => [undefined, ...levels].map(third => [first, second, third])),
    )
    for (const clean of [true, false]) {
      const tool = await connectTool(t, broker, { name: `overlap${clean}`, clean })
      for (const [i, given] of combinations.entries()) {
        const subscriptions = filters.flatMap((filter, j): [string, Qos][] =>
          given[j] === undefined ? [] : [[filter, given[j]]],
        )
        if (i % 2 === 1) subscriptions.reverse()
        const granted = Math.max(...subscriptions.map(([, qos]) => qos))
        tool.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: filters })
        await tool.next('unsuback')
        await subscribe(tool, ...subscriptions)
        await Promise.all(levels.map(qos => device.publishAsync(state, `${i} at ${qos}`, { qos })))
        const messages = await received(tool, levels.length)
        assert.deepEqual(
          messages.map(({ payload, qos }) => `${payload} comes at ${qos}`).sort(),
          levels.map(qos => `${i} at ${qos} comes at ${Math.min(qos, granted)}`),
          `clean ${clean}: ${JSON.stringify(subscriptions)}`,
        )
        for (const message of messages) await complete(tool, message)
      }
    }
  },
)

testEachStore(
  'what a stored session got online through overlapping filters is not in its queue any more',
  async (start, t) => {
    const broker = await start()
    const device = await broker.connect(press)
    const tool = await connectTool(t, broker)
    await subscribe(tool, [state, 0], [wide, 1], [all, 2])
    for (const qos of [0, 1, 2] as const) await device.publishAsync(state, `at ${qos}`, { qos })
    const messages = await received(tool, 3)
    assert.deepEqual(
      messages.map(({ payload, qos }) => [String(payload), qos]),
      [0, 1, 2].map(qos => [`at ${qos}`, qos]),
    )
    for (const message of messages) await complete(tool, message)
    await received(tool)
    tool.socket.destroy()
    const again = await connectTool(t, broker)
    assert.deepEqual(await received(again), [])
    await emptied(broker)
  },
)

testEachStore(
  'a filter of a lower QoS bounds what comes through it, from the queue too (3.8.4-6)',
  async (start, t) => {
    const broker = await start()
    const device = await broker.connect(press)
    const tool = await connectTool(t, broker)
    await subscribe(tool, [wide, 1])
    await device.publishAsync(state, 'online', { qos: 2 })
    const [online] = await received(tool, 1)
    assert.equal(online!.qos, 1)
    await complete(tool, online!)
    await received(tool)
    tool.socket.destroy()
    await tool.closed()
    await device.publishAsync(state, 'queued', { qos: 2 })
    const [queued] = await received(await connectTool(t, broker), 1)
    assert.deepEqual([String(queued!.payload), queued!.qos], ['queued', 1])
  },
)

testEachStore(
  'RETAIN is 0 for an established subscription, from the queue too, and 1 for a new one (3.3.1-8, 3.3.1-9)',
  async (start, t) => {
    const broker = await start()
    const device = await broker.connect(press)
    const tool = await connectTool(t, broker)
    await subscribe(tool, [state, 2])
    await device.publishAsync(state, 'online', { qos: 1, retain: true })
    const [online] = await received(tool, 1)
    assert.deepEqual(summary(online!), { payload: 'online', qos: 1, retain: false, dup: false })
    await complete(tool, online!)
    await received(tool)
    tool.socket.destroy()
    await tool.closed()
    await device.publishAsync(state, 'away at 1', { qos: 1, retain: true })
    await device.publishAsync(state, 'away at 2', { qos: 2, retain: true })
    const again = await connectTool(t, broker)
    const queued = await received(again, 2)
    assert.deepEqual(queued.map(summary), [
      { payload: 'away at 1', qos: 1, retain: false, dup: false },
      { payload: 'away at 2', qos: 2, retain: false, dup: false },
    ])
    for (const message of queued) await complete(again, message)
    await subscribe(again, [wide, 1])
    assert.deepEqual((await received(again)).map(summary), [{ payload: 'away at 2', qos: 2, retain: true, dup: false }])
    // A retained message that was not acknowledged is the session's like any other, and still one of a new subscription.
    again.socket.destroy()
    await again.closed()
    const third = await connectTool(t, broker)
    assert.deepEqual((await received(third, 1)).map(summary), [
      { payload: 'away at 2', qos: 2, retain: true, dup: true },
    ])
  },
)

testEachStore(
  'DUP is 1 when a message is sent again (3.3.1-1), and never what the publisher said (3.3.1-3)',
  async (start, t) => {
    const broker = await start()
    const tool = await connectTool(t, broker)
    await subscribe(tool, [state, 2])
    const password = Buffer.from(broker.secrets.get(press.name)!)
    const login = { ...connectPacket, clientId: press.name, username: press.name, password }
    const device = await connectRaw(t, broker.broker.port, login)
    await device.next('connack')
    const publish = { cmd: 'publish', topic: state, dup: true, retain: false } as const
    device.send({ ...publish, qos: 1, messageId: 1, payload: 'one' })
    await device.next('puback')
    device.send({ ...publish, qos: 2, messageId: 2, payload: 'two' })
    await device.next('pubrec')
    const first = await received(tool, 2)
    assert.deepEqual(first.map(summary), [
      { payload: 'one', qos: 1, retain: false, dup: false },
      { payload: 'two', qos: 2, retain: false, dup: false },
    ])
    tool.socket.destroy()
    await tool.closed()
    device.send({ ...publish, qos: 1, messageId: 3, payload: 'three' })
    await device.next('puback')
    const again = await received(await connectTool(t, broker), 3)
    assert.deepEqual(again.map(summary), [
      { payload: 'one', qos: 1, retain: false, dup: true },
      { payload: 'two', qos: 2, retain: false, dup: true },
      { payload: 'three', qos: 1, retain: false, dup: false },
    ])
    assert.deepEqual(
      again.slice(0, 2).map(({ messageId }) => messageId),
      first.map(({ messageId }) => messageId),
    )
  },
)

testEachStore('a client that returns while messages come gets each once, in order', async (start, t) => {
  const broker = await start()
  const device = await broker.connect(press)
  const tool = await connectTool(t, broker)
  await subscribe(tool, [state, 2])
  tool.socket.destroy()
  await tool.closed()
  const waiting = 500
  const total = 1_500
  for (let i = 0; i < waiting; i++) await device.publishAsync(state, String(i), { qos: 1 })
  const publishing = (async () => {
    for (let i = waiting; i < total; i++) await device.publishAsync(state, String(i), { qos: i % 2 ? 1 : 2 })
  })()
  const again = await connectTool(t, broker)
  const got: number[] = []
  while (got.length < total) {
    const packet = await again.take()
    if (packet.cmd === 'publish') {
      got.push(Number(packet.payload))
      again.send({ cmd: packet.qos === 1 ? 'puback' : 'pubrec', messageId: packet.messageId! })
    } else if (packet.cmd === 'pubrel') again.send({ cmd: 'pubcomp', messageId: packet.messageId! })
  }
  await publishing
  assert.deepEqual(await received(again), [])
  assert.deepEqual(got, [...Array(total).keys()])
  await emptied(broker)
})

testEachStore(
  'no retained message comes after a newer one of its topic, however slowly it is read',
  async (start, t) => {
    const broker = await start()
    const device = await broker.connect(press)
    const topics = Array.from({ length: 300 }, (_, i) => `faultline/v1/${press.name}/points/p${i}/inference`)
    const say = (what: string, qos: Qos) =>
      Promise.all(topics.map(topic => device.publishAsync(topic, what + ' '.repeat(20_000), { qos, retain: true })))
    await say('old', 1)
    for (const clean of [true, false]) {
      for (const qos of [0, 1] as const) {
        const tool = await connectTool(t, broker, { name: `slow-${clean}-${qos}`, clean })
        tool.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: all, qos }] })
        await tool.next('publish') // The snapshot is on its way.
        tool.socket.pause()
        await say('new', qos)
        tool.socket.resume()
        const last = new Map<string, string>()
        let news = 0
        while (last.size < topics.length - 1 || news < topics.length) {
          const packet = await tool.next('publish')
          const text = String(packet.payload).trim()
          if (!packet.retain) news++
          else assert.notEqual(`${last.get(packet.topic)} then ${text}`, 'new then old', packet.topic)
          last.set(packet.topic, text)
          if (packet.qos === 1) tool.send({ cmd: 'puback', messageId: packet.messageId! })
        }
        tool.socket.destroy()
        await say('old', 1)
      }
    }
  },
)
