import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { generate } from 'mqtt-packet'
import { missing } from '../support/programs.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { testEachStore } from './each-store.ts'
import { clientsOf, Exchange, messageId, open, Receiver, topic, until } from './exactly-once-clients.ts'
import { anna, press, startBroker, type TestBroker } from './harness.ts'

/** The first bytes of the packets at QoS 2, which no other piece that is written here begins with. */
const headers = { publish: [0x34, 0x3c], pubrec: [0x50], pubrel: [0x62], pubcomp: [0x70] }
type Exchanged = keyof typeof headers

/** What a broker that is killed was about to do, or had just done. */
interface Step {
  does: 'reads' | 'sends'
  cmd: Exchanged
}

const steps: Step[] = [
  { does: 'reads', cmd: 'publish' },
  { does: 'sends', cmd: 'pubrec' },
  { does: 'sends', cmd: 'publish' },
  { does: 'reads', cmd: 'pubrec' },
  { does: 'sends', cmd: 'pubrel' },
  { does: 'reads', cmd: 'pubrel' },
  { does: 'sends', cmd: 'pubcomp' },
  { does: 'reads', cmd: 'pubcomp' },
]

type Writev = (chunks: { chunk: Buffer }[], done: (error?: Error | null) => void) => void
const prototype = Socket.prototype as unknown as {
  push(chunk: Buffer | null): boolean
  _writev: Writev
  _write(chunk: Buffer, encoding: string, done: (error?: Error | null) => void): void
}

/**
 * Waits for a step of the broker, whose connections are the ones of this process that a server accepted, and takes at that
 * very moment what it would leave behind if it were killed: its files as they are, and none of its connections.
 */
function killAt(t: TestContext, { does, cmd }: Step, files: string, left: string): Promise<void> {
  const { push, _writev: writev, _write: write } = prototype
  const restore = () => Object.assign(prototype, { push, _writev: writev, _write: write })
  t.after(restore)
  return new Promise((resolve, reject) => {
    AbortSignal.timeout(10_000).addEventListener('abort', () => reject(new Error(`the broker never ${does} ${cmd}`)))
    const die = () => {
      restore()
      for (const end of ['', '-wal']) if (existsSync(files + end)) copyFileSync(files + end, left + end)
      resolve()
    }
    const accepted = (socket: unknown) => Boolean((socket as { server?: object }).server)
    const isIt = (chunk: Buffer) => headers[cmd].includes(chunk[0]!)
    prototype.push = function (this: Socket, chunk) {
      if (does === 'reads' && chunk && accepted(this) && isIt(chunk)) {
        die()
        return true
      }
      return push.call(this, chunk)
    }
    prototype._writev = function (this: Socket, chunks, done) {
      const found = does === 'sends' && accepted(this) && chunks.some(({ chunk }) => isIt(chunk))
      writev.call(this, chunks, done)
      if (found) die()
    }
    prototype._write = function (this: Socket, chunk, encoding, done) {
      write.call(this, chunk, encoding, done)
      if (does === 'sends' && accepted(this) && isIt(chunk)) die()
    }
  })
}

const filters = { '': topic, ' to a member of a group': `$share/g/${topic}` }

for (const [step, [to, filter]] of steps.flatMap(step =>
  Object.entries(filters).map(entry => [step, entry] as const),
)) {
  const moment = `${step.does} ${step.cmd.toUpperCase()}`
  test(`a message of QoS 2${to} comes once when the broker is killed as it ${moment}`, async t => {
    const directory = await temporaryDirectory(t)
    mkdirSync(join(directory, 'left'))
    const [files, left] = [join(directory, 'broker.db'), join(directory, 'left', 'broker.db')]
    const first = await startBroker(t, { store: files })
    const exchange = new Exchange(t)
    await exchange.open(first, filter)
    const killed = killAt(t, step, files, left)
    exchange.sender.publish('one')
    await killed
    await exchange.drop(first)
    await exchange.resume(await startBroker(t, { store: left }))
  })
}

for (const [to, filter] of Object.entries(filters)) {
  test(`in a cluster: a message of QoS 2${to} comes once, whichever command to Redis is the last of a broker`, {
    skip: missing('redis-server'),
    timeout: 120_000,
  }, async t => {
    const redis = await startRedis(t)
    for (let last = 1; ; last++) {
      await redis.flush()
      const first = await startBroker(t, { redis: redis.url })
      const exchange = new Exchange(t)
      await exchange.open(first, filter)
      const killed = killAfter(first, last)
      exchange.sender.publish('one')
      const completed = exchange.completed('one').then(
        () => false,
        thrown => {
          if (thrown.code !== 'ECONNRESET') throw thrown
          // Connections end as the broker dies, and that may be seen before the end of its own to Redis.
          return Promise.race([killed, delay(5_000)]).then(() => true)
        },
      )
      const isKilled = await Promise.race([killed.then(() => true), completed])
      if (!isKilled) {
        assert.ok(last > 6, `${last - 1} commands are too few for an exchange`)
        return
      }
      await exchange.drop(first)
      await first.broker.stop()
      const second = await startBroker(t, { redis: redis.url })
      await exchange.resume(second)
      await second.broker.stop()
    }
  })
}

/** Lets a broker send so many more commands to Redis; with the last all its connections end. Resolves when they have. */
async function killAfter(test: TestBroker, commands: number): Promise<void> {
  const { link } = (test.broker.engine as unknown as { node: { link: { all: Redis[]; stop(): void } } }).node
  const clients = clientsOf(test)
  let left = commands
  const die = () => {
    for (const { conn } of Object.values(clients)) conn.destroy()
    link.stop()
  }
  for (const connection of link.all) {
    const send = connection.sendCommand.bind(connection)
    connection.sendCommand = (command, ...rest) => {
      if (left === 0) {
        command.reject(new Error('killed'))
        return command.promise
      }
      const answer = send(command, ...rest)
      left--
      if (left === 0) die()
      return answer
    }
  }
  await Promise.all(link.all.map(connection => once(connection, 'end')))
}

testEachStore('a message of QoS 2 that comes twice in one piece is taken once', async (start, t) => {
  const broker = await start()
  const tool = await open(t, broker, anna.name, `${anna.name}/tool`)
  tool.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 2 }] })
  await tool.next('suback')
  const device = await open(t, broker, press.name)
  const publish = { cmd: 'publish', topic, qos: 2, retain: false, messageId } as const
  const again = generate({ ...publish, payload: 'one', dup: true })
  device.socket.write(Buffer.concat([generate({ ...publish, payload: 'one', dup: false }), again, again]))
  for (let i = 0; i < 3; i++) assert.equal((await device.next('pubrec')).messageId, messageId)
  device.send({ cmd: 'pubrel', messageId })
  await device.next('pubcomp')
  device.send({ ...publish, payload: 'two', dup: false })
  const receiver = new Receiver()
  receiver.attach(tool)
  await until(() => receiver.got.includes('two'), tool)
  assert.deepEqual(receiver.got, ['one', 'two'])
})

testEachStore('a PUBREL of a message that is not there is answered with PUBCOMP', async (start, t) => {
  const broker = await start()
  const device = await open(t, broker, press.name)
  device.send({ cmd: 'pubrel', messageId: 4711 })
  assert.equal((await device.next('pubcomp')).messageId, 4711)
})

testEachStore(
  'a packet identifier that is in use is not given to another message, over a new connection neither',
  async (start, t) => {
    const broker = await start()
    const device = await broker.connect(press)
    const tool = await open(t, broker, anna.name, `${anna.name}/tool`)
    tool.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic, qos: 2 }] })
    await tool.next('suback')
    await device.publishAsync(topic, 'held', { qos: 2 })
    await device.publishAsync(topic, 'released', { qos: 2 })
    const [held, released] = [await tool.next('publish'), await tool.next('publish')]
    tool.send({ cmd: 'pubrec', messageId: released.messageId! })
    await tool.next('pubrel')
    tool.socket.destroy()
    await tool.closed()

    const again = await open(t, broker, anna.name, `${anna.name}/tool`)
    clientsOf(broker)[`${anna.name}/tool`]!._nextId = held.messageId!
    const resumed = [await again.take(), await again.take()].map(({ cmd, messageId }) => `${cmd} ${messageId}`)
    assert.deepEqual(resumed.sort(), [`publish ${held.messageId}`, `pubrel ${released.messageId}`])
    await device.publishAsync(topic, 'new', { qos: 2 })
    const fresh = await again.next('publish')
    assert.equal(String(fresh.payload), 'new')
    assert.ok(fresh.messageId !== held.messageId && fresh.messageId !== released.messageId)
  },
)
