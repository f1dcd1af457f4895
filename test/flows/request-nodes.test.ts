import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { FlowRunner } from '@faultline/flows'
import {
  type Command,
  type ConfigDesired,
  examples,
  identityOf,
  type RolloutCommand,
  topicFilter,
} from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { InProcessHost, ServerAgent } from '@faultline/server-agent'
import { createStore } from '@faultline/telemetry'
import RED from 'node-red'
import { pointOf } from '../../telemetry/measurements.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample, TinyServerModel, tinyRateHz, tinyTask, tinyWindow } from '../support/tiny-models.ts'
import { address, inference, startBroker } from './fixtures.ts'

/** The nodes that ask and wait for an answer, in one Node-RED. */
const cleanups: (() => unknown)[] = []
const shared = { after: (work: () => unknown) => void cleanups.push(work) } as Parameters<typeof startBroker>[0]
const secret = 'a secret that everybody in these tests has'

type Heard = { source: string; message: Record<string, unknown> & { error?: { message: string; code?: string } } }
const heard: Heard[] = []
let wake = () => {}

/** The next message of a node that was not asked for before. */
async function next(source: string): Promise<Heard['message']> {
  for (;;) {
    const index = heard.findIndex(entry => entry.source === source)
    if (index >= 0) return heard.splice(index, 1)[0]!.message
    await new Promise<void>(resolve => {
      wake = resolve
    })
  }
}

const send = (node: string, message: Record<string, unknown>) => RED.nodes.getNode(node).receive(message)

const node = (id: string, type: string, fields: Record<string, unknown>) => ({
  id,
  type,
  z: 'tab',
  x: 0,
  y: 0,
  wires: [['sink']],
  ...fields,
})
const command = (id: string, action: string) =>
  node(id, 'faultline-command', { broker: 'broker', action, site: 'plant-a', device: 'pi-1', timeoutS: 20 })

let broker: Awaited<ReturnType<typeof startBroker>>
let runner: FlowRunner
const commands: Command[] = []
const desired: ConfigDesired[] = []

before(async () => {
  broker = await startBroker(shared)
  const directory = await temporaryDirectory(shared)
  const path = join(directory, 'telemetry.db')
  const flow = [
    { id: 'tab', type: 'tab', label: 'test' },
    { id: 'broker', type: 'faultline-broker' },
    {
      id: 'as-device',
      type: 'faultline-broker',
      url: broker.url,
      identity: 'devices/plant-a/flow-1',
    },
    { id: 'store', type: 'faultline-store' },
    { id: 'no-store', type: 'faultline-store', kind: 'sqlite', path: join(directory, 'nowhere.db') },
    node('devices', 'faultline-devices', { broker: 'broker', wires: [['sink'], []] }),
    command('recalibrate', 'recalibrate'),
    command('capture', 'capture'),
    command('configure', 'configure'),
    { ...command('impatient', 'ping'), device: 'gone', timeoutS: 0.05 },
    { ...command('anywhere', 'ping'), site: '', device: '' },
    node('counts', 'faultline-query', { store: 'store', question: 'counts', hours: 24 }),
    node('series', 'faultline-query', { store: 'store', question: 'series', hours: 24 }),
    node('lost', 'faultline-query', { store: 'no-store', question: 'counts', hours: 24 }),
    node('escalate', 'faultline-escalate', { broker: 'as-device', task: tinyTask, rateHz: tinyRateHz, deadlineS: 20 }),
    node('wrong', 'faultline-escalate', { broker: 'broker', task: tinyTask }),
    node('sink', 'junction', { wires: [[]] }),
    node('catch', 'catch', { scope: null }),
  ]
  await writeFile(join(directory, 'flows.json'), JSON.stringify(flow))

  const store = createStore({ kind: 'sqlite', path })
  await store.start()
  shared.after(() => store.stop())
  const at = () => new Date().toISOString()
  const windows = ['normal', 'normal', 'ball'].map(label => inference(label, { at: at() }))
  await store.write(windows.map(payload => pointOf({ kind: 'inference', address: address(), payload }, Date.now())!))

  await startDevice()
  await startServer()
  RED.hooks.add('onSend.test', (events: { source: { id: string }; msg: Heard['message'] }[]) => {
    for (const { source, msg } of events) heard.push({ source: source.id, message: msg })
    wake()
  })
  runner = new FlowRunner({
    userDirectory: directory,
    port: 0,
    broker: broker.flows,
    store: { kind: 'sqlite', path },
    logger: silentLogger,
  })
  await runner.start()
  shared.after(() => runner.stop())
})

after(async () => {
  for (const work of cleanups.reverse()) await work()
})

/** A device that knows how to recalibrate, and refuses a price of 0.99. */
async function startDevice(): Promise<void> {
  const stem = { site: 'plant-a', device: 'pi-1' }
  const session = new MqttSession({
    url: broker.url,
    secret,
    identity: identityOf('device', 'plant-a', 'pi-1'),
    subscriptions: ['faultline/v1/devices/plant-a/pi-1/command', 'faultline/v1/devices/plant-a/pi-1/config/desired'],
    logger: silentLogger,
    onMessage: async ({ kind, payload }) => {
      const at = new Date().toISOString()
      if (kind === 'command') {
        commands.push(payload)
        const { id, name } = payload
        const known = name === 'recalibrate'
        const error = { code: 'COMMAND_UNKNOWN', message: `there is no command "${name}"` }
        await session.publish(
          { kind: 'command-result', ...stem },
          { id, name, at, ok: known, ...(known ? { result: { windows: 351 } } : { error }) },
        )
      }
      if (kind === 'config-desired') {
        desired.push(payload)
        const { revision, config } = payload
        const refused = config.price === 0.99
        await session.publish(
          { kind: 'config-reported', ...stem },
          {
            revision,
            at,
            status: refused ? 'refused' : 'applied',
            ...(refused && { error: { code: 'CONFIG_INVALID', message: 'too dear' } }),
            config,
          },
        )
      }
    },
  })
  shared.after(() => session.stop())
  await session.start()
  await session.whenOnline()
}

async function startServer(): Promise<void> {
  const agent = new ServerAgent({
    server: 'hall-1',
    broker: { url: broker.url, secret },
    host: new InProcessHost([new TinyServerModel()]),
    logger: silentLogger,
  })
  const online = agent.online ? undefined : new Promise<void>(resolve => agent.once('online', () => resolve()))
  await agent.start()
  shared.after(() => agent.stop())
  await online
}

test('a command goes to its device, and what it gave comes back', async () => {
  send('recalibrate', { payload: { point: 'motor-de' }, order: 17 })
  const { payload, site, device, order } = await next('recalibrate')
  assert.deepEqual([payload, site, device, order], [{ windows: 351 }, 'plant-a', 'pi-1', 17])
  assert.deepEqual([commands[0]?.name, commands[0]?.args], ['recalibrate', { point: 'motor-de' }])
})

test('what a device does not know is an error with its code', async () => {
  send('capture', { payload: { seconds: 10 } })
  const { error } = await next('catch')
  assert.match(String(error?.message), /plant-a\/pi-1 refused the command capture: there is no command "capture"/)
  assert.equal(error?.code, 'COMMAND_UNKNOWN')
})

test('a device that does not answer is an error too', async () => {
  send('impatient', {})
  assert.match(
    String((await next('catch')).error?.message),
    /plant-a\/gone did not answer the command ping within 0.05 s/,
  )
})

test('the device may be named by the message, or by the event it came from; unnamed it is an error', async () => {
  send('anywhere', { faultline: { kind: 'inference', address: address() } })
  assert.match(String((await next('catch')).error?.message), /plant-a\/pi-1 refused the command ping/)
  send('anywhere', { site: 'plant-a', device: 'pi-1' })
  assert.match(String((await next('catch')).error?.message), /plant-a\/pi-1 refused the command ping/)
  send('anywhere', { payload: 1 })
  assert.match(String((await next('catch')).error?.message), /which device\?/)
})

test('configurations follow one another, and each keeps what those before it desired', async () => {
  send('configure', { payload: { price: 0.3 } })
  send('configure', { payload: { reporting: 'exception' } })
  assert.deepEqual((await next('configure')).payload, { price: 0.3 })
  assert.deepEqual((await next('configure')).payload, { price: 0.3, reporting: 'exception' })
  assert.deepEqual(
    desired.map(({ revision }) => revision),
    [1, 2],
  )
})

test('a configuration that its device refuses is an error, and the one before is desired again', async () => {
  send('configure', { payload: { price: 0.99 } })
  const { error } = await next('catch')
  assert.deepEqual(
    [error?.code, /refused the configuration 3: too dear/.test(String(error?.message))],
    ['CONFIG_INVALID', true],
  )
  send('configure', { payload: { price: 2 } })
  assert.match(String((await next('catch')).error?.message), /^(Error: |FaultlineError: )?price: /)
  send('configure', { payload: { healthIntervalS: 5 } })
  assert.deepEqual((await next('configure')).payload, { price: 0.3, reporting: 'exception', healthIntervalS: 5 })
})

test('the store answers with rows', async () => {
  send('counts', { payload: { groupBy: ['machine', 'label'] } })
  assert.deepEqual((await next('counts')).payload, [
    { machine: 'press-1', label: 'ball', count: 1 },
    { machine: 'press-1', label: 'normal', count: 2 },
  ])
  send('series', { payload: { measurement: 'inference', field: 'feature_rms', every: 86_400_000 } })
  const [bucket] = (await next('series')).payload as { mean: number }[]
  assert.ok(Math.abs(bucket!.mean - 0.1) < 1e-9)
})

test('a question that lacks something, and a store that is not there, are errors', async () => {
  send('series', { payload: { measurement: 'inference' } })
  assert.match(String((await next('catch')).error?.message), /field: /)
  send('lost', {})
  assert.equal((await next('catch')).error?.code, 'STORE_NOT_FOUND')
})

test("a message's payload goes up to the server model, and its verdict comes back", async () => {
  const { samples } = tinyWindow(sample.fault)
  send('escalate', { payload: [...samples], order: 18 })
  const { payload, order } = await next('escalate')
  const { label, agent } = payload as { label: string; agent: string }
  assert.deepEqual([label, agent, order], ['fault', 'hall-1', 18])
  send('escalate', { payload: tinyWindow(sample.normal).samples })
  assert.equal(((await next('escalate')).payload as { label: string }).label, 'normal')
})

test('a payload that is no window, and a window that no model takes, are errors', async () => {
  send('escalate', { payload: 'ball' })
  assert.equal((await next('catch')).error?.code, 'WINDOW_INVALID')
  send('escalate', { payload: [1, 2, 3] })
  const { error } = await next('catch')
  assert.deepEqual([error?.code, error?.message.includes('bad-window')], ['ESCALATION_REJECTED', true])
})

test('without the identity of a device there is nothing to escalate with', () => {
  assert.equal(RED.nodes.getNode('wrong').listenerCount('input'), 0)
})

test('the Devices page commands rollouts through their service, in the name of who is logged in, and viewers do not', async () => {
  const look = async () => {
    send('devices', { topic: 'look', payload: {} })
    const { payload } = await next('devices')
    return (payload as { parts: { artifacts: { digest: string }[] | null; rollouts: { id: string; state: string }[] } })
      .parts
  }
  const anna = { name: 'anna', role: 'operator' }
  send('devices', { topic: 'rollout', payload: { action: 'pause', rollout: 'r-1' }, user: anna })
  assert.equal((await next('catch')).error?.code, 'ROLLOUTS_NOT_SERVED')

  const asked: { rollout: string; command: RolloutCommand }[] = []
  const service: MqttSession = new MqttSession({
    url: broker.url,
    identity: identityOf('operator', 'rollouts'),
    secret,
    subscriptions: [topicFilter('rollout-command')],
    onMessage: async ({ kind, address, payload }) => {
      if (kind !== 'rollout-command') return
      const { rollout } = address
      asked.push({ rollout, command: payload })
      const at = new Date().toISOString()
      const refused = { ok: false, error: { code: 'ROLLOUT_INVALID', message: 'is paused already' } }
      await service.publish(
        { kind: 'rollout-result', rollout },
        { id: payload.id, at, ...(payload.name === 'pause' ? refused : { ok: true }) },
      )
    },
    logger: silentLogger,
  })
  await service.start()
  shared.after(() => service.stop())
  await service.whenOnline()
  const { payload: status } = examples.rollout
  await service.publish({ kind: 'rollout', rollout: 'r-1' }, status)
  const { payload: state } = examples['rollout-service']
  await service.publish({ kind: 'rollout-service', service: 'rollouts' }, state)
  let parts = await look()
  while (!parts.artifacts || parts.rollouts.length === 0) {
    await delay(20)
    parts = await look()
  }
  assert.deepEqual(
    parts.rollouts.map(({ id, state: said }) => [id, said]),
    [['r-1', 'running']],
  )

  send('devices', { topic: 'rollout', payload: { action: 'pause', rollout: 'r-1' }, user: anna })
  const { error } = await next('catch')
  assert.deepEqual([error?.code, /paused already/.test(error!.message)], ['ROLLOUT_INVALID', true])
  assert.deepEqual(
    asked.map(({ rollout, command: { by, name } }) => [rollout, by, name]),
    [['r-1', 'anna', 'pause']],
  )
  const pause = {
    topic: 'rollout',
    payload: { action: 'pause', rollout: 'r-1' },
    user: { name: 'guest', role: 'viewer' },
  }
  send('devices', pause)
  assert.equal((await next('catch')).error?.code, 'NOT_ALLOWED')
  send('devices', { topic: 'rollout', payload: { action: 'start' }, user: anna })
  assert.equal((await next('catch')).error?.code, 'MESSAGE_INVALID')
  const start = { action: 'start', artifact: parts.artifacts[0]!.digest, site: 'plant-a' }
  send('devices', { topic: 'rollout', payload: start, user: anna })
  send('devices', { topic: 'rollout', payload: { action: 'pause', rollout: 'r-1' }, user: anna })
  await next('catch')
  assert.deepEqual(
    asked.slice(1).map(({ command: { by, name, start: order } }) => [by, name, order?.artifact]),
    [
      ['anna', 'start', start.artifact],
      ['anna', 'pause', undefined],
    ],
  )
})
