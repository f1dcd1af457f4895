import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { type TestContext, test } from 'node:test'
import { type Budget, parseTopic, type TopicKind } from '@faultline/protocol'
import packets, { type IPublishPacket } from 'mqtt-packet'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, site, startDevice, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample } from '../support/tiny-models.ts'

/** A broker that takes everything, remembers what it took on the wire, and acknowledges publications only if told to. */
class CountingBroker {
  readonly secret = 'any'
  readonly published: { kind: TopicKind; bytes: number }[] = []
  acknowledges = true
  url = ''
  private readonly events = new EventEmitter()
  private readonly sockets = new Set<Socket>()
  private readonly server = createServer(socket => this.join(socket))

  async start(t: TestContext): Promise<void> {
    this.server.listen(0, '127.0.0.1')
    await once(this.server, 'listening')
    this.url = `mqtt://127.0.0.1:${(this.server.address() as AddressInfo).port}`
    t.after(() => {
      this.server.close()
      this.cut()
    })
  }

  cut(): void {
    for (const socket of this.sockets) socket.destroy()
  }

  bytes(kind?: TopicKind): number {
    return this.published
      .filter(one => kind === undefined || one.kind === kind)
      .reduce((sum, { bytes }) => sum + bytes, 0)
  }

  /** Resolves once so many bytes of a kind have arrived. */
  async took(kind: TopicKind, bytes: number): Promise<void> {
    const signal = AbortSignal.timeout(20_000)
    while (this.bytes(kind) < bytes) await once(this.events, 'published', { signal })
  }

  private join(socket: Socket): void {
    this.sockets.add(socket)
    socket.on('error', () => {}) // Its end is what matters.
    socket.on('close', () => this.sockets.delete(socket))
    const parser = packets.parser()
    socket.on('data', chunk => parser.parse(chunk))
    parser.on('packet', packet => {
      if (packet.cmd === 'connect') {
        socket.write(packets.generate({ cmd: 'connack', returnCode: 0, sessionPresent: false }))
      } else if (packet.cmd === 'subscribe') {
        const granted = packet.subscriptions.map(() => 1)
        socket.write(packets.generate({ cmd: 'suback', messageId: packet.messageId!, granted }))
      } else if (packet.cmd === 'publish') this.take(packet, socket)
    })
  }

  private take(packet: IPublishPacket, socket: Socket): void {
    const { topic, messageId, qos } = packet
    // What arrived, generated anew: the size on the wire without the arithmetic under test.
    this.published.push({ kind: parseTopic(topic)!.kind, bytes: packets.generate(packet).length })
    this.events.emit('published')
    if (this.acknowledges && qos === 1) socket.write(packets.generate({ cmd: 'puback', messageId: messageId! }))
  }
}

async function countingBroker(t: TestContext): Promise<CountingBroker> {
  const broker = new CountingBroker()
  await broker.start(t)
  return broker
}

const everything = { policy: { name: 'always', parameters: {} }, deadlineMs: 20 }
const budget: Budget = { bytesPerDay: 30_000, escalationBytesPerDay: 4_000, explorationBytesPerDay: 1_000 }
const many = (count: number, first: number): number[] => new Array<number>(count).fill(first)

test('when the budget is used up the local answer stands at once and says so', async t => {
  const broker = await countingBroker(t)
  const edge = await startDevice(t, broker, { ...everything, budget })
  await edge.online()
  await edge.infer(...many(30, sample.doubtful))
  const { counters, budget: spent } = edge.agent.health!
  assert.ok(counters.late > 3 && counters.withheld > 3, JSON.stringify(counters))
  assert.equal(counters.late + counters.withheld, 30)
  await broker.took('escalation', spent!.escalations.used)
  assert.ok(broker.bytes('escalation') <= budget.escalationBytesPerDay)
  assert.equal(spent?.escalations.used, broker.bytes('escalation'))
  const { inference } = edge.inferences.find(({ inference }) => inference.outcome === 'withheld')!
  assert.deepEqual(
    [inference.outcome, inference.decidedBy, inference.reason],
    ['withheld', 'local-fallback', 'over-budget'],
  )
  const { bytesNeeded, bytesLeft, price } = inference.numbers!
  assert.ok(bytesNeeded! > bytesLeft! && bytesLeft! >= 0 && price === 0.2)
})

test('a restart does not grant a second budget', async t => {
  const broker = await countingBroker(t)
  const dataDirectory = await temporaryDirectory(t)
  for (let i = 0; i < 3; i++) {
    const edge = await startDevice(t, broker, { ...everything, budget, dataDirectory })
    await edge.online()
    await edge.infer(...many(20, sample.doubtful))
    await edge.agent.stop()
  }
  assert.ok(broker.bytes('escalation') > budget.escalationBytesPerDay / 2)
  assert.ok(broker.bytes('escalation') <= budget.escalationBytesPerDay)
  assert.ok(broker.bytes() <= budget.bytesPerDay)
})

test('a connection that breaks sends nothing twice for one payment', async t => {
  const broker = await countingBroker(t)
  broker.acknowledges = false
  const edge = await startDevice(t, broker, { ...everything, budget: { ...budget, bytesPerDay: 9_000 } })
  for (let i = 0; i < 8; i++) {
    await edge.online()
    await edge.infer(sample.doubtful)
    const offline = edge.offline()
    broker.cut()
    await offline
  }
  await edge.online()
  const { total, escalations } = edge.agent.health!.budget!
  assert.ok(broker.bytes('escalation') <= escalations.used && escalations.used <= budget.escalationBytesPerDay)
  // What was cut off may be paid for without having arrived, never the other way round.
  assert.ok(broker.bytes() <= total.used && total.used <= 9_000, `${broker.bytes()} of ${total.used}`)
  assert.ok(total.left < 3_000, 'the budget was hardly put to the test')
})

test('exploration stops first, and then what it would have sent is accepted', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const edge = await startDevice(t, broker, { auditRate: 1, budget })
  await edge.online()
  const normals = await edge.infer(...many(10, sample.normal))
  const audited = normals.filter(({ reason }) => reason === 'audit')
  assert.ok(audited.length > 0 && audited.length < 10)
  const last = normals.find(({ reason }) => reason !== 'audit')!
  assert.deepEqual([last.outcome, last.decidedBy, last.reason], ['accepted', 'local', 'exploration-over-budget'])
  assert.equal(last.numbers!.auditRate, 1)
  // The doubtful ones still have their own part.
  assert.equal((await edge.infer(sample.doubtful))[0]!.outcome, 'answered')
  assert.equal(edge.counters.withheld, 0)
  const { exploration, escalations } = edge.agent.health!.budget!
  assert.ok(exploration.used <= 1_000 && escalations.used > exploration.used)
})

test('reports that do not fit wait on the device until there is room', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const tight = { bytesPerDay: 4_000, escalationBytesPerDay: 1, explorationBytesPerDay: 0 }
  const edge = await startDevice(t, broker, { budget: tight, healthIntervalS: 0.05 })
  await edge.online()
  await edge.infer(...many(20, sample.normal))
  const { queues, budget: spent } = edge.agent.health!
  assert.ok(queues.spool > 5, `${queues.spool} wait`)
  assert.ok(spent!.total.used <= 4_000)
  const { session } = watcher
  const wide = { ...tight, bytesPerDay: 1_000_000 }
  await session.publish({ kind: 'config-desired', site, device }, { revision: 1, config: { budget: wide } })
  await watcher.see('inference', () => true, 20)
  assert.equal(edge.counters.accepted, 20)
})
