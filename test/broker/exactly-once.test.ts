import assert from 'node:assert/strict'
import { once } from 'node:events'
import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { Socket } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { generate, type Packet } from 'mqtt-packet'
import { temporaryDirectory } from '../support/temp.ts'
import { testEachStore } from './each-store.ts'
import { anna, press, startBroker, type TestBroker } from './harness.ts'
import { connectPacket, connectRaw, type RawClient } from './raw-client.ts'

const topic = `faultline/v1/${press.name}/state`
const messageId = 7

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

async function open(
  t: TestContext,
  { broker, secrets }: TestBroker,
  name: string,
  clientId = name,
): Promise<RawClient> {
  const password = Buffer.from(secrets.get(name)!)
  const client = await connectRaw(t, broker.port, {
    ...connectPacket,
    clientId,
    username: name,
    password,
    clean: false,
  })
  assert.equal((await client.next('connack')).returnCode, 0)
  return client
}

/** Sends at QoS 2 as MQTT 3.1.1, 4.3.3 has it, over as many connections as it takes. */
class Sender {
  state: 'sent' | 'released' | 'done' = 'done'
  payload = ''
  private client: RawClient | undefined

  publish(payload: string): void {
    this.payload = payload
    this.state = 'sent'
    this.send(false)
  }

  attach(client: RawClient): void {
    this.client = client
    follow(client, ({ cmd }) => {
      if (cmd === 'pubrec' && this.state !== 'done') {
        this.state = 'released'
        client.send({ cmd: 'pubrel', messageId })
      } else if (cmd === 'pubcomp') this.state = 'done'
    })
    if (this.state === 'sent') this.send(true)
    if (this.state === 'released') client.send({ cmd: 'pubrel', messageId })
  }

  private send(dup: boolean): void {
    this.client!.send({ cmd: 'publish', topic, payload: this.payload, qos: 2, dup, retain: false, messageId })
  }
}

/** Receives at QoS 2: takes a packet identifier once until it is released. */
class Receiver {
  readonly got: string[] = []
  private readonly held = new Set<number>()

  get idle(): boolean {
    return this.held.size === 0
  }

  attach(client: RawClient): void {
    follow(client, packet => {
      if (packet.cmd === 'publish') {
        const id = packet.messageId!
        if (!this.held.has(id)) this.got.push(String(packet.payload))
        this.held.add(id)
        client.send({ cmd: 'pubrec', messageId: id })
      } else if (packet.cmd === 'pubrel') {
        this.held.delete(packet.messageId!)
        client.send({ cmd: 'pubcomp', messageId: packet.messageId! })
      }
    })
  }
}

function follow(client: RawClient, react: (packet: Packet) => void): void {
  const read = () => {
    for (const packet of client.left()) react(packet)
  }
  client.socket.on('packet', read)
  read()
}

/** Resolves once something holds that packets to one of the clients bring about. */
async function until(holds: () => boolean, ...clients: RawClient[]): Promise<void> {
  const signal = AbortSignal.timeout(10_000)
  while (!holds()) await Promise.race(clients.map(({ socket }) => once(socket, 'packet', { signal })))
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
    const [sender, receiver] = [new Sender(), new Receiver()]
    const first = await startBroker(t, { store: files })
    const tool = await open(t, first, anna.name, `${anna.name}/tool`)
    tool.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: filter, qos: 2 }] })
    await tool.next('suback')
    const device = await open(t, first, press.name)
    receiver.attach(tool)
    sender.attach(device)
    const killed = killAt(t, step, files, left)
    sender.publish('one')
    await killed
    // What the first sent before is on its way to them, and nothing after it.
    for (const { conn } of Object.values(clientsOf(first))) conn.destroy()
    await Promise.all([tool.closed(), device.closed()])

    const second = await startBroker(t, { store: left })
    const [toolAgain, deviceAgain] = [
      await open(t, second, anna.name, `${anna.name}/tool`),
      await open(t, second, press.name),
    ]
    receiver.attach(toolAgain)
    sender.attach(deviceAgain)
    const completed = (...payloads: string[]) =>
      until(
        () => sender.state === 'done' && receiver.got.length >= payloads.length && receiver.idle,
        toolAgain,
        deviceAgain,
      )
    await completed('one')
    sender.publish('two') // With the same identifier, which is free again.
    await completed('one', 'two')
    assert.deepEqual(receiver.got, ['one', 'two'])
  })
}

const clientsOf = ({ broker }: TestBroker) =>
  (broker.engine!.aedes as unknown as { clients: Record<string, { conn: Socket; _nextId: number }> }).clients

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
