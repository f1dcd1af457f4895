import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { decodePayload, FaultlineError, type TopicAddress } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { Outbox, type OutboxOptions } from '../../device-agent/spool/outbox.ts'
import { Spool, type SpoolBounds } from '../../device-agent/spool/spool.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { temporaryDirectory } from '../support/temp.ts'

const stem = { site: 'plant-a', device: 'pi-1' }
const address = { kind: 'inference', ...stem, point: 'motor-de' } as const
const escalation = { kind: 'escalation', ...stem, point: 'motor-de' } as const

/** A connection whose acknowledgements come when the test says so. */
class HeldPublisher {
  online = true
  readonly published: string[] = []
  readonly waiting: { text: string; acknowledge: () => void; fail: (reason?: Error) => void }[] = []

  publishRaw(_: TopicAddress, payload: Buffer): Promise<void> {
    const text = payload.toString()
    this.published.push(text)
    return new Promise((resolve, reject) => {
      const fail = (reason = new Error('connection lost')) => reject(reason)
      this.waiting.push({ text, acknowledge: resolve, fail })
    })
  }

  /** Acknowledges what is under way, and what comes of that, until nothing is; says the most that waited at once. */
  async acknowledgeAll(): Promise<number> {
    let most = 0
    while (this.waiting.length > 0) {
      most = Math.max(most, this.waiting.length)
      this.waiting.shift()!.acknowledge()
      await settle()
    }
    return most
  }
}

async function openOutbox(t: TestContext, options: Partial<OutboxOptions> = {}, bounds: Partial<SpoolBounds> = {}) {
  const database = openStorage(await temporaryDirectory(t))
  t.after(() => database.isOpen && database.close())
  const spool = new Spool(database, bounds)
  const publisher = new HeldPublisher()
  const outbox = new Outbox({ spool, publisher, logger: silentLogger, inFlight: 3, ...options })
  t.after(() => outbox.stop())
  const connect = () => {
    publisher.online = true
    outbox.connected()
  }
  const disconnect = async () => {
    publisher.online = false
    outbox.disconnected()
    for (const { fail } of publisher.waiting.splice(0)) fail()
    await settle()
  }
  const send = (...texts: string[]) => {
    for (const text of texts) outbox.send(address, Buffer.from(text))
  }
  return { database, spool, publisher, outbox, connect, disconnect, send }
}

const settle = () => new Promise(resolve => setImmediate(resolve))
const numbers = (count: number) => Array.from({ length: count }, (_, i) => String(i))

test('what was spooled while offline is sent in order, a few at a time', async t => {
  const { spool, publisher, connect, send } = await openOutbox(t)
  publisher.online = false
  send(...numbers(10))
  assert.deepEqual(publisher.published, [])
  connect()
  assert.deepEqual(publisher.published, ['0', '1', '2'])
  send('new')
  assert.ok((await publisher.acknowledgeAll()) <= 3)
  assert.equal(spool.size, 0)
  assert.deepEqual(publisher.published, [...numbers(10), 'new'])
})

test('a long backlog goes at a pace, marked so, and what is new and the results of commands overtake it', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const { spool, publisher, outbox, connect } = await openOutbox(t, { backlog: { atOnce: 5, perSecond: 10 } })
  publisher.online = false
  const inference = (number: number) => Buffer.from(JSON.stringify({ number }))
  for (let number = 0; number < 20; number++) outbox.send(address, inference(number))
  outbox.send({ kind: 'command-result', ...stem }, Buffer.from('result'))
  outbox.send(escalation, Buffer.from('window'), { value: 0.4 })
  connect()
  await publisher.acknowledgeAll()
  assert.equal(publisher.published[0], 'result')
  assert.deepEqual(
    publisher.published.slice(1),
    numbers(5).map(number => `{"number":${number},"backlog":true}`),
  )
  outbox.send(address, inference(99))
  await publisher.acknowledgeAll()
  assert.equal(publisher.published.at(-1), '{"number":99}')
  // Half a second is five more.
  now += 500
  t.mock.timers.tick(500)
  await publisher.acknowledgeAll()
  assert.equal(publisher.published.length, 12)
  for (let i = 0; i < 10; i++) {
    now += 500
    t.mock.timers.tick(500)
    await publisher.acknowledgeAll()
  }
  assert.equal(spool.size, 0)
  assert.equal(publisher.published.at(-1), 'window')
})

test('a report marked as backlog fits its schema', async t => {
  const { publisher, outbox, connect } = await openOutbox(t, { backlog: { atOnce: 1, perSecond: 1 } })
  publisher.online = false
  const at = '2026-03-02T08:15:30.120Z'
  const summary = { from: at, to: at, machine: 'press-3', windows: 1, labels: {}, outcomes: {}, features: {} }
  for (let i = 0; i < 2; i++) outbox.send({ ...address, kind: 'summary' }, Buffer.from(JSON.stringify(summary)))
  connect()
  assert.equal(decodePayload('summary', Buffer.from(publisher.published[0]!)).backlog, true)
})

test('a message that the broker did not take is sent again, and only that one', async t => {
  const { spool, publisher, outbox, connect, send } = await openOutbox(t)
  connect()
  send('a', 'b', 'c')
  const [a, b, c] = publisher.waiting.splice(0)
  a!.acknowledge()
  b!.fail()
  await settle()
  outbox.pump()
  assert.deepEqual(publisher.published, ['a', 'b', 'c', 'b'])
  c!.acknowledge()
  await publisher.acknowledgeAll()
  assert.equal(spool.size, 0)
})

/** Over this connection, one message breaks it. */
function poisoned(publisher: HeldPublisher, disconnect: () => Promise<void>) {
  return async () => {
    while (publisher.waiting.length > 0) {
      const next = publisher.waiting.shift()!
      if (next.text === 'poison') {
        publisher.waiting.unshift(next)
        return disconnect()
      }
      next.acknowledge()
      await settle()
    }
  }
}

test('one message that breaks the connection every time is set aside, and every other arrives', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { spool, publisher, connect, disconnect, send } = await openOutbox(t, {}, { tries: { shared: 2, all: 4 } })
  const work = poisoned(publisher, disconnect)
  publisher.online = false
  send('a', 'poison', 'b', 'c', 'd')
  for (let connection = 0; connection < 8; connection++) {
    connect()
    await work()
    // Long enough for a suspect to be tried alone.
    if (publisher.online) t.mock.timers.tick(5_000)
    await work()
    send(`live-${connection}`)
    await work()
    await disconnect()
  }
  const sent = publisher.published.filter(text => text === 'poison').length
  assert.equal(sent, 4)
  assert.equal(spool.setAside, 1)
  assert.equal(spool.size, 1)
  for (const text of ['a', 'b', 'c', 'd', 'live-0', 'live-7']) assert.ok(publisher.published.includes(text), text)
})

test('a suspect that is innocent arrives', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { spool, publisher, connect, disconnect, send } = await openOutbox(t)
  publisher.online = false
  send('a')
  for (let i = 0; i < 2; i++) {
    connect()
    await disconnect()
  }
  connect()
  assert.deepEqual(publisher.waiting, [])
  t.mock.timers.tick(5_000)
  await publisher.acknowledgeAll()
  assert.equal(spool.size, 0)
})

test('a message that waits for the budget is no suspect', async t => {
  const { spool, publisher, outbox, connect, send } = await openOutbox(t, {}, { tries: { shared: 1, all: 1 } })
  connect()
  send('a')
  publisher.waiting.shift()!.fail(new FaultlineError('BUDGET_EXHAUSTED', 'no bytes'))
  await settle()
  outbox.pump()
  await publisher.acknowledgeAll()
  assert.equal(spool.size, 0)
})

test('a drained outbox says so', async t => {
  const { publisher, outbox, connect, send } = await openOutbox(t)
  connect()
  send('a')
  const drained = outbox.drained(10_000).then(() => 'drained')
  publisher.waiting[0]!.acknowledge()
  assert.equal(await drained, 'drained')
})

test('a message that cannot be written to disk is sent all the same; without a connection it is lost and counted', async t => {
  const { database, publisher, outbox, connect, send } = await openOutbox(t)
  connect()
  database.close()
  send('a')
  assert.deepEqual(publisher.published, ['a'])
  assert.equal(outbox.dropped, 0)
  publisher.online = false
  send('b')
  assert.deepEqual(publisher.published, ['a'])
  assert.equal(outbox.dropped, 1)
})

test('a spool that cannot be read disturbs nobody', async t => {
  const { database, publisher, connect, send } = await openOutbox(t)
  publisher.online = false
  send('a')
  database.close()
  connect()
  assert.deepEqual(publisher.published, [])
})

test('an outbox is not drained while messages wait, whatever the full spool gave up before', async t => {
  const { publisher, outbox, connect, send } = await openOutbox(t, {}, { bytes: 500 })
  connect()
  send(...numbers(6))
  for (const { acknowledge } of publisher.waiting.splice(0)) acknowledge()
  await settle()
  let drained = false
  const done = outbox.drained(10_000).then(() => {
    drained = true
  })
  await settle()
  assert.equal(drained, false)
  await publisher.acknowledgeAll()
  await done
})
