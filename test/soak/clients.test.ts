import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import { RawClient } from '../broker/raw-client.ts'
import { Publisher } from './publisher.ts'
import { Subscriber } from './subscriber.ts'
import { Tally } from './tally.ts'

const account = { clientId: 'c', username: 'c', password: 'c' }

/** A broker of a test's own making: gives the connections of clients as they have sent CONNECT. */
async function listen(t: TestContext) {
  const waiting: RawClient[] = []
  const arrivals = new EventEmitter()
  const server = createServer(socket => {
    waiting.push(new RawClient(socket))
    arrivals.emit('connection')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const accept = async (sessionPresent: boolean): Promise<RawClient> => {
    while (waiting.length === 0) await once(arrivals, 'connection', { signal: AbortSignal.timeout(10_000) })
    const connection = waiting.shift()!
    await connection.next('connect')
    connection.send({ cmd: 'connack', returnCode: 0, sessionPresent })
    return connection
  }
  return { accept, port: () => (server.address() as AddressInfo).port }
}

async function startSubscriber(t: TestContext, qos: 1 | 2) {
  const broker = await listen(t)
  const tally = new Tally()
  const subscriber = new Subscriber({ account, clean: false, port: broker.port, filter: 'a', qos, tally })
  const running = subscriber.start()
  t.after(async () => {
    await subscriber.stop()
    await running
  })
  const connection = await broker.accept(false)
  const { messageId } = await connection.next('subscribe')
  connection.send({ cmd: 'suback', messageId: messageId!, granted: [qos] })
  const send = (to: RawClient, number: number, messageId: number, dup = false) =>
    to.send({ cmd: 'publish', topic: 'a', payload: String(number), qos, messageId, dup, retain: false })
  return { broker, tally, connection, send }
}

test('a subscriber counts a message of QoS 2 that comes again once its exchange is over', async t => {
  const { tally, connection, send } = await startSubscriber(t, 2)
  send(connection, 1, 5)
  await connection.next('pubrec')
  connection.send({ cmd: 'pubrel', messageId: 5 })
  await connection.next('pubcomp')
  assert.deepEqual(tally.repeated(), [])
  send(connection, 1, 6)
  await connection.next('pubrec')
  assert.deepEqual(tally.repeated(), [1])
  assert.deepEqual(tally.missing([1, 2]), [2])
})

test('a subscriber takes a message of QoS 2 that is sent again before its release for the same, over connections', async t => {
  const { broker, tally, connection, send } = await startSubscriber(t, 2)
  send(connection, 1, 5)
  await connection.next('pubrec')
  connection.socket.destroy()
  const again = await broker.accept(true)
  send(again, 1, 5, true)
  await again.next('pubrec')
  assert.deepEqual(tally.repeated(), [])
})

test('a subscriber whose session the broker has lost counts what comes again', async t => {
  const { broker, tally, connection, send } = await startSubscriber(t, 2)
  send(connection, 1, 5)
  await connection.next('pubrec')
  connection.socket.destroy()
  const again = await broker.accept(false)
  send(again, 1, 5, true)
  await again.next('pubrec')
  assert.deepEqual(tally.repeated(), [1])
})

test('a publisher of QoS 1 counts what is acknowledged, and sends the rest again with DUP', async t => {
  const broker = await listen(t)
  const publisher = new Publisher({ account, clean: false, port: broker.port, topic: 'a', qos: 1, rate: 200 })
  const running = publisher.start()
  t.after(async () => {
    await publisher.stop()
    await running
  })
  const connection = await broker.accept(false)
  const [first, second] = [await connection.next('publish'), await connection.next('publish')]
  connection.send({ cmd: 'puback', messageId: first.messageId! })
  // What it sends after it has the answer shows that it has it.
  while (!publisher.acknowledged.has(1)) await connection.next('publish')
  connection.socket.destroy()
  const again = await (await broker.accept(true)).next('publish')
  assert.deepEqual(
    [again.messageId, String(again.payload), again.dup],
    [second.messageId, String(second.payload), true],
  )
  assert.deepEqual([...publisher.acknowledged], [1])
})

test('a publisher of QoS 2 sends no message again that was received, but its release', async t => {
  const broker = await listen(t)
  const publisher = new Publisher({ account, clean: false, port: broker.port, topic: 'a', qos: 2, rate: 200 })
  const running = publisher.start()
  t.after(async () => {
    await publisher.stop()
    await running
  })
  const connection = await broker.accept(false)
  const { messageId } = await connection.next('publish')
  publisher.finish()
  connection.send({ cmd: 'pubrec', messageId: messageId! })
  await connection.next('pubrel')
  connection.socket.destroy()
  const again = await broker.accept(true)
  for (;;) {
    const packet = await again.take()
    if (packet.cmd === 'publish') assert.notEqual(packet.messageId, messageId)
    else {
      assert.deepEqual([packet.cmd, packet.messageId], ['pubrel', messageId])
      break
    }
  }
  again.send({ cmd: 'pubcomp', messageId: messageId! })
  assert.ok(publisher.acknowledged.has(1))
})
