import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { FlowRunner } from '@faultline/flows'
import { type Alarm, type Inference, identityOf } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import RED from 'node-red'
import type { Update } from '../../flows/dashboard/viewers.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { address, deviceState, inference, startBroker, startClients } from './fixtures.ts'

/** Node-RED is one per process: the tests share it, each with a machine of its own. */
const cleanups: (() => unknown)[] = []
const shared = { after: (work: () => unknown) => void cleanups.push(work) } as Parameters<typeof startBroker>[0]

const nodes: Record<string, unknown>[] = [
  { id: 'tab', type: 'tab', label: 'test' },
  { id: 'broker', type: 'faultline-broker' },
  {
    id: 'all',
    type: 'faultline-events',
    z: 'tab',
    broker: 'broker',
    kinds: ['inference', 'summary'],
    site: 'plant-a',
    wires: [['alarm']],
  },
  {
    id: 'plant-b',
    type: 'faultline-events',
    z: 'tab',
    broker: 'broker',
    kinds: ['inference'],
    site: 'plant-b',
    wires: [['calm']],
  },
  {
    id: 'calm',
    type: 'faultline-alarm',
    z: 'tab',
    broker: 'broker',
    contacts: 'anna, ben',
    repeatS: 3_600,
    repeats: 0,
    wires: [['sink'], ['sink']],
  },
  {
    id: 'plant-c',
    type: 'faultline-events',
    z: 'tab',
    broker: 'broker',
    kinds: ['inference'],
    site: 'plant-c',
    wires: [['urgent']],
  },
  {
    id: 'urgent',
    type: 'faultline-alarm',
    z: 'tab',
    broker: 'broker',
    contacts: 'anna\nben',
    repeatS: 0.1,
    repeats: 1,
    priorities: 'ball: critical',
    wires: [['sink'], ['sink']],
  },
  {
    id: 'picky',
    type: 'faultline-events',
    z: 'tab',
    broker: 'broker',
    kinds: ['inference', 'state'],
    site: 'plant-a',
    machine: 'fan-1, fan-2',
    label: 'ball',
    wires: [['sink']],
  },
  { id: 'states', type: 'faultline-events', z: 'tab', broker: 'broker', kinds: ['state'], wires: [['sink']] },
  { id: 'alarm', type: 'faultline-alarm', z: 'tab', broker: 'broker', normal: 'normal', wires: [['sink']] },
  { id: 'fleet', type: 'faultline-fleet', z: 'tab', broker: 'broker', intervalMs: 100, wires: [['sink']] },
  { id: 'catch', type: 'catch', z: 'tab', scope: null, wires: [['sink']] },
  { id: 'sink', type: 'junction', z: 'tab', wires: [[]] },
  { id: 'lost', type: 'faultline-alarm', z: 'tab', broker: 'nowhere', normal: 'normal', wires: [[]] },
]

/** As the guide wires an alert with Node-RED's own nodes: MQTT in, filter, switch. */
const plain = (port: number, password: string): Record<string, unknown>[] => [
  {
    id: 'plain-broker',
    type: 'mqtt-broker',
    broker: '127.0.0.1',
    port: String(port),
    clientid: '',
    autoConnect: true,
    protocolVersion: '4',
    keepalive: '60',
    cleansession: true,
    credentials: { user: 'operators/line-3', password },
  },
  {
    id: 'plain-in',
    type: 'mqtt in',
    z: 'tab',
    topic: 'faultline/v1/alarms/+/+/+',
    qos: '1',
    datatype: 'json',
    broker: 'plain-broker',
    wires: [['plain-filter']],
  },
  {
    id: 'plain-filter',
    type: 'rbe',
    z: 'tab',
    func: 'rbe',
    septopics: true,
    property: 'payload.state',
    topi: 'topic',
    wires: [['plain-switch']],
  },
  {
    id: 'plain-switch',
    type: 'switch',
    z: 'tab',
    property: 'payload.state',
    propertyType: 'msg',
    rules: [{ t: 'eq', v: 'unacknowledged', vt: 'str' }],
    outputs: 1,
    wires: [['sink']],
  },
]

// Node-RED takes a node without a place for a configuration node.
const place = (node: Record<string, unknown>) => ('z' in node ? { x: 0, y: 0, ...node } : node)
const flow = nodes.map(place)

interface Sent {
  source: string
  message: {
    topic?: unknown
    payload?: unknown
    change?: unknown
    notice?: unknown
    error?: { message: string }
    faultline?: unknown
    _client?: unknown
  }
}

let broker: Awaited<ReturnType<typeof startBroker>>
let clients: Awaited<ReturnType<typeof startClients>>
let device: MqttSession
let runner: FlowRunner
const sent: Sent[] = []
let wake = () => {}
/** Windows that the alarm node has seen to, by machine. */
const counted = new Map<string, number>()

/** Resolves when nodes have sent, or done, what is waited for. */
async function until<T>(find: () => T | undefined | false): Promise<T> {
  for (;;) {
    const found = find()
    if (found) return found
    await new Promise<void>(resolve => {
      wake = resolve
    })
  }
}

/** The first message a node sent, or still sends, that fits. */
const output = (source: string, fits: (message: Sent['message']) => boolean): Promise<Sent['message']> =>
  until(() => sent.find(entry => entry.source === source && fits(entry.message))?.message)

before(async () => {
  broker = await startBroker(shared)
  clients = await startClients(shared, broker.url)
  device = await clients.device('pi-1')
  const userDirectory = await temporaryDirectory(shared)
  await writeFile(join(userDirectory, 'flows.json'), JSON.stringify(flow))
  RED.hooks.add('onSend.test', (events: { source: { id: string }; msg: Sent['message'] }[]) => {
    for (const { source, msg } of events) sent.push({ source: source.id, message: msg })
    wake()
  })
  RED.hooks.add('onComplete.test', ({ node, msg }: { node: { id: string }; msg: Sent['message'] }) => {
    if (node.id !== 'alarm') return
    const { machine } = msg.payload as Inference
    counted.set(machine, (counted.get(machine) ?? 0) + 1)
    wake()
  })
  runner = new FlowRunner({ userDirectory, port: 0, broker: broker.flows, logger: silentLogger })
  await runner.start()
  shared.after(() => runner.stop())
  // It is retained: the nodes are connected when this arrives.
  await device.publish({ kind: 'state', site: 'plant-a', device: 'pi-1' }, deviceState('press-0'))
  await output('states', () => true)
})

after(async () => {
  for (const work of cleanups.reverse()) await work()
})

const publish = async (label: string, machine: string, count = 1) => {
  for (let i = 0; i < count; i++) await device.publish(address(), inference(label, { machine }))
}
const inject = (topic: string, payload: unknown) => RED.nodes.getNode('alarm').receive({ topic, payload })

test('four faulty windows raise an alarm: published, retained, and sent on by the node', async () => {
  await publish('ball', 'press-1', 4)
  const alarm = await clients.alarm(alarm => alarm.machine === 'press-1')
  assert.equal(alarm.state, 'unacknowledged')
  assert.equal(alarm.evidence.length, 4)
  const message = await output('alarm', ({ change, payload }) => change === 'raised' && payload !== undefined)
  assert.deepEqual(message.payload, alarm)
  assert.equal(message.topic, 'faultline/v1/alarms/plant-a/press-1/ball')
  const late = await startClients(shared, broker.url)
  assert.deepEqual(await late.alarm(alarm => alarm.machine === 'press-1'), alarm)
})

test('an acknowledgement goes in as a message, and normal windows bring the alarm back to normal', async () => {
  await publish('ball', 'press-2', 4)
  await clients.alarm(({ machine, state }) => machine === 'press-2' && state === 'unacknowledged')
  inject('acknowledge', { site: 'plant-a', machine: 'press-2', fault: 'ball' })
  await clients.alarm(({ machine, state }) => machine === 'press-2' && state === 'acknowledged')
  await publish('normal', 'press-2', 10)
  await clients.alarm(({ machine, state }) => machine === 'press-2' && state === 'normal')
})

test('windows from plain MQTT nodes count too: as text, as bytes, as objects', async () => {
  const topic = 'faultline/v1/devices/plant-a/pi-1/points/motor-de/inference'
  const json = () => JSON.stringify(inference('ball', { machine: 'press-3' }))
  inject(topic, json())
  inject(topic, Buffer.from(json()))
  inject(topic, JSON.parse(json()))
  inject(topic, json())
  await clients.alarm(({ machine }) => machine === 'press-3')
})

test('mistakes reach a catch node, and the node goes on', async () => {
  const caught = (part: string) => output('catch', ({ error }) => error?.message.includes(part) ?? false)
  inject('faultline/v1/devices/plant-a/pi-1/points/motor-de/inference', { label: 'ball' })
  await caught('inference: ')
  inject('nonsense', {})
  await caught('expected a topic under faultline/v1/')
  inject('acknowledge', { site: 'plant-a' })
  await caught('acknowledge: machine: ')
  inject('acknowledge', { site: 'plant-a', machine: 'press-99', fault: 'ball' })
  await caught('press-99/ball needs no acknowledgement')
  await publish('***', 'press-4', 1)
  await caught('cannot name an alarm')
  await publish('ball', 'press-4', 4)
  await clients.alarm(({ machine }) => machine === 'press-4')
})

test('events pass their filters with topic, payload and address', async () => {
  await publish('ball', 'press-5')
  await publish('normal', 'fan-1')
  const wanted = inference('ball', { machine: 'fan-2' })
  await device.publish(address(), wanted)
  const message = await output('picky', () => true)
  assert.deepEqual(message.payload, wanted)
  assert.equal(message.topic, 'faultline/v1/devices/plant-a/pi-1/points/motor-de/inference')
  assert.deepEqual(message.faultline, { kind: 'inference', address: address() })
})

/** As a browser that has the fleet's page open. */
const lookAtFleet = () => RED.nodes.getNode('fleet').receive({ topic: 'look', _client: { socketId: 'browser' } })

test('the fleet node sends what has changed to who looks, and nothing else', async () => {
  lookAtFleet()
  await device.publish({ kind: 'state', site: 'plant-a', device: 'pi-1' }, deviceState('lathe-1'))
  const { payload, _client } = await output('fleet', ({ payload }) => JSON.stringify(payload).includes('lathe-1'))
  assert.deepEqual(
    (payload as Update).rows.map(({ key }) => key),
    ['plant-a/lathe-1'],
    'it hears of nothing else',
  )
  assert.deepEqual(_client, { socketId: 'browser' })
})

test('an alarm cleared by hand leaves the dashboard and the alarm node', async () => {
  const shows = (payload: unknown) => {
    const alarms = (payload as Update).parts.alarms as { machine: string }[] | undefined
    return alarms?.some(({ machine }) => machine === 'press-10')
  }
  lookAtFleet()
  await publish('ball', 'press-10', 4)
  await output('fleet', ({ payload }) => shows(payload) === true)
  const administrator = new MqttSession({
    ...broker.flows,
    identity: identityOf('flows', 'administrator'),
    subscriptions: [],
    logger: silentLogger,
  })
  shared.after(() => administrator.stop())
  await administrator.start()
  await administrator.whenOnline()
  sent.splice(0)
  await administrator.publishRaw(
    { kind: 'alarm', site: 'plant-a', machine: 'press-10', fault: 'ball' },
    Buffer.alloc(0),
  )
  await output('fleet', ({ payload }) => shows(payload) === false)
  inject('acknowledge', { site: 'plant-a', machine: 'press-10', fault: 'ball' })
  await output('catch', ({ error }) => error?.message.includes('press-10/ball needs no acknowledgement') ?? false)
})

/** What the alarm node says of an alarm now: a comment changes nothing else. */
async function look(machine: string): Promise<Alarm> {
  const comment = `looked at ${machine}`
  inject('comment', { site: 'plant-a', machine, fault: 'ball', comment })
  const { payload } = await output('alarm', message => (message.payload as Alarm).action?.comment === comment)
  return payload as Alarm
}

const countOf = (source: string, fits: (message: Sent['message']) => boolean): number =>
  sent.filter(entry => entry.source === source && fits(entry.message)).length

test('a thousand events at once make one alarm', async () => {
  const machine = 'press-20'
  const devices = await Promise.all(['pi-2', 'pi-3', 'pi-4', 'pi-5'].map(name => clients.device(name)))
  await Promise.all(
    Array.from({ length: 1_000 }, (_, i) => {
      const number = i % devices.length
      return devices[number]!.publish(address(`pi-${number + 2}`), inference('ball', { machine }))
    }),
  )
  await until(() => counted.get(machine) === 1_000)
  const { count, points } = await look(machine)
  assert.deepEqual([count, points?.length], [1_000, 4])
  const isRaised = ({ topic, change }: Sent['message']) => String(topic).includes(machine) && change === 'raised'
  assert.equal(countOf('alarm', isRaised), 1)
  assert.equal(clients.alarms.filter(alarm => alarm.machine === machine && alarm.state !== 'unacknowledged').length, 0)
})

test('a flapping condition notifies once, as its policy says', async () => {
  const flapper = await clients.device('pi-6', 'plant-b')
  const at = { ...address('pi-6'), site: 'plant-b' }
  for (let i = 0; i < 10; i++) {
    for (const label of ['ball', 'ball', 'ball', 'ball', ...Array<string>(10).fill('normal')]) {
      flapper.publish(at, inference(label, { machine: 'fan-6' })).catch(() => {}) // Missed below.
    }
  }
  await until(() => countOf('calm', ({ change }) => change === 'returned') === 10)
  assert.equal(
    countOf('calm', ({ change }) => change === 'raised'),
    10,
  )
  const told = sent.filter(({ source, message }) => source === 'calm' && message.change === 'notified')
  assert.deepEqual(
    told.map(({ message }) => message.notice),
    [{ to: 'anna', count: 1, escalated: false }],
  )
})

test('an alarm nobody acknowledges goes to the next person', async () => {
  const neglected = await clients.device('pi-7', 'plant-c')
  const at = { ...address('pi-7'), site: 'plant-c' }
  for (let i = 0; i < 4; i++) await neglected.publish(at, inference('ball', { machine: 'fan-7' }))
  const told = () => sent.filter(({ source, message }) => source === 'urgent' && message.change === 'notified')
  await until(() => told().length === 4)
  assert.deepEqual(
    told().map(({ message }) => (message.notice as { to: string }).to),
    ['anna', 'anna', 'ben', 'ben'],
  )
  assert.equal((told()[0]!.message.payload as Alarm).priority, 'critical')
  const late = await startClients(shared, broker.url)
  assert.equal(
    (await late.alarm(({ machine, notified }) => machine === 'fan-7' && notified?.count === 4)).notified?.to,
    'ben',
  )
})

test('late verdicts correct the count of an alarm and do not make it flap', async () => {
  const machine = 'press-21'
  const windows = Array.from({ length: 4 }, () => inference('ball', { machine, outcome: 'late' }))
  for (const window of windows) await device.publish(address(), window)
  await clients.alarm(alarm => alarm.machine === machine)
  for (const { id } of windows.slice(0, 3)) {
    await device.publish(address(), inference('normal', { machine, revises: id, decidedBy: 'server' }))
  }
  await until(() => counted.get(machine) === 7)
  const { state, count } = await look(machine)
  assert.deepEqual([state, count], ['unacknowledged', 1])
  assert.equal(
    countOf('alarm', ({ topic, change }) => String(topic).includes(machine) && change !== 'commented'),
    1,
  )
})

test('shelved on the dashboard, an alarm is out of sight until its time is up, with the name of who did it', async () => {
  await publish('ball', 'press-22', 4)
  await clients.alarm(({ machine }) => machine === 'press-22')
  const payload = { site: 'plant-a', machine: 'press-22', fault: 'ball', minutes: 0.005 }
  RED.nodes.getNode('alarm').receive({ topic: 'shelve', payload, user: { name: 'anna' } })
  const shelved = await clients.alarm(({ machine, state }) => machine === 'press-22' && state === 'shelved')
  assert.deepEqual([shelved.action?.by, shelved.suppression?.active], ['anna', true])
  await output('alarm', ({ change, payload }) => {
    const { machine, since } = payload as Alarm
    return machine === 'press-22' && change === 'raised' && since >= shelved.suppression!.until!
  })
})

test('a node without a broker says so, and the others work', () => {
  assert.equal(RED.nodes.getNode('lost').listenerCount('input'), 0)
})

test('after a full deploy every alarm stands as it stood, and none is raised again', async () => {
  const isRaise = ({ source, message }: Sent) =>
    source === 'alarm' && message.change === 'raised' && String(message.topic).includes('/press-6/')
  await publish('ball', 'press-6', 4)
  await clients.alarm(({ machine }) => machine === 'press-6')
  await publish('ball', 'press-23', 4)
  await clients.alarm(({ machine }) => machine === 'press-23')
  inject('shelve', { site: 'plant-a', machine: 'press-23', fault: 'ball', minutes: 60 })
  const shelved = await clients.alarm(({ machine, state }) => machine === 'press-23' && state === 'shelved')
  const alert = plain(broker.port, broker.flows.secret).map(place)
  const raisedBefore = sent.splice(0).filter(isRaise)
  const deployed = once(RED.events, 'flows:started')
  await RED.runtime.flows.setFlows({ flows: { flows: [...flow, ...alert] }, deploymentType: 'full' })
  await deployed
  // It is retained: the new nodes are connected when this arrives.
  await output('states', ({ topic }) => topic === 'faultline/v1/devices/plant-a/pi-1/state')
  await publish('ball', 'press-6', 6)
  await publish('normal', 'press-6', 10)
  await clients.alarm(({ machine, state }) => machine === 'press-6' && state === 'returned-unacknowledged')
  assert.deepEqual([raisedBefore.length, sent.filter(isRaise).length], [1, 0])
  assert.deepEqual((await look('press-23')).suppression, shelved.suppression)
})

test('plain MQTT nodes, wired as the guide says, alert once for an alarm', async () => {
  const alerts = () =>
    sent.filter(({ source, message }) => source === 'plain-switch' && String(message.topic).includes('/press-8/'))
  await output('plain-switch', () => true)
  await publish('ball', 'press-8', 8)
  await publish('normal', 'press-8', 10)
  await clients.alarm(({ machine, state }) => machine === 'press-8' && state === 'returned-unacknowledged')
  await output('plain-in', ({ topic, payload }) => {
    return String(topic).includes('/press-8/') && (payload as { state: string }).state === 'returned-unacknowledged'
  })
  assert.equal(alerts().length, 1)
})

test('when the broker comes back empty, the alarms are published again', async () => {
  await publish('ball', 'press-7', 4)
  await clients.alarm(({ machine }) => machine === 'press-7')
  await broker.stop()
  const again = await startBroker(shared, broker.port)
  const late = await startClients(shared, again.url)
  const alarm = await late.alarm(({ machine }) => machine === 'press-7')
  assert.equal(alarm.state, 'unacknowledged')
})

test('a second runner in one process is refused', async () => {
  const options = { userDirectory: '.', port: 0, broker: broker.flows, logger: silentLogger }
  await assert.rejects(new FlowRunner(options).start(), { code: 'FLOWS_FAILED', message: /once per process/ })
})

test('stopped, it listens no more', async () => {
  const port = runner.port
  await runner.stop()
  const socket = connect(port, '127.0.0.1')
  const [error] = await once(socket, 'error')
  assert.equal((error as NodeJS.ErrnoException).code, 'ECONNREFUSED')
})
