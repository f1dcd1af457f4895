import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import type { Inference, ServerState } from '@faultline/protocol'
import { Battery } from '../../device-agent/link/battery.ts'
import { interfaceOf, Pricing } from '../../device-agent/link/pricing.ts'
import { ServerLoads } from '../../device-agent/link/server-loads.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, site, startDevice, startServer, startVoice, type TestDevice } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { priceList } from '../support/price-lists.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample, TinyServerModel, tinyTask } from '../support/tiny-models.ts'

const settings = { price: 0.2, prices: priceList, deadlineMs: 1_000 }
/** On the interface that has the address 127.0.0.1, whatever this system calls it. */
const cabled = {
  ...priceList,
  links: { ...priceList.links, cable: { ...priceList.links.cable!, interface: interfaceOf('127.0.0.1')! } },
}

const serverState = (waitMs: number, task = 'bearings'): ServerState => ({
  online: true,
  at: new Date().toISOString(),
  boot: 1,
  agentVersion: '1.0.0',
  models: [
    {
      name: 'm',
      version: '1',
      digest: 'sha256:0123456789ab',
      task,
      role: 'server',
      engine: 'none',
      enginesRejected: [],
    },
  ],
  capacity: { maxBatch: 1, maxQueue: 1 },
  load: { queued: 1, answered: 0, rejected: 0, windowsPerSecond: 1, waitMs },
})

function pricing(changes: Partial<typeof settings> = {}, battery = new Battery(undefined)) {
  const servers = new ServerLoads('bearings')
  return { servers, pricing: new Pricing({ ...settings, ...changes }, battery, servers) }
}

async function batteryOf(t: TestContext, text: string): Promise<Battery> {
  const file = join(await temporaryDirectory(t), 'capacity')
  await writeFile(file, text)
  return new Battery(file)
}

test('a plain price is the price, and has no parts', () => {
  const made = new Pricing({ ...settings, prices: null }, new Battery(undefined), new ServerLoads('bearings'))
  assert.equal(made.report, undefined)
  assert.deepEqual(made.quote(5_000), { price: 0.2, numbers: {} })
  assert.deepEqual(made.report, { value: 0.2 })
  assert.equal(made.metered, true)
})

test('the charge of the battery raises the price; a file that says nothing does not', async t => {
  const { price } = pricing().pricing.quote(5_000)
  const half = pricing({}, await batteryOf(t, '25\n')).pricing
  assert.ok(Math.abs(half.quote(5_000).price / price - 3) < 1e-9)
  assert.equal(half.report?.battery, 0.25)
  for (const text of ['', 'full', '-3', '104', 'NaN']) {
    const unknown = pricing({}, await batteryOf(t, text)).pricing
    assert.equal(unknown.quote(5_000).price, price, text)
    assert.equal(unknown.report?.battery, undefined, text)
  }
  assert.equal(new Battery('/nowhere/at/all').level, undefined)
})

test('the wait is the mean over the servers that can answer', () => {
  const { servers } = pricing()
  assert.equal(servers.waitMs, undefined)
  servers.heard('one', serverState(100))
  servers.heard('two', serverState(300))
  servers.heard('images', serverState(9_000, 'images'))
  assert.equal(servers.waitMs, 200)
  servers.heard('one', { online: false, boot: 1 })
  assert.equal(servers.waitMs, 300)
  servers.heard('two', { online: false, boot: 1 })
  assert.equal(servers.waitMs, Number.POSITIVE_INFINITY)
  for (const server of ['one', 'two', 'images']) servers.forget(server)
  assert.equal(servers.waitMs, undefined)
})

test('the wait against the deadline raises the price, and without anybody to answer asking never pays', () => {
  const { servers, pricing: made } = pricing()
  const { price } = made.quote(5_000)
  servers.heard('one', serverState(750))
  const loaded = made.quote(5_000)
  assert.ok(Math.abs(loaded.price / price - 4) < 1e-9)
  assert.equal(loaded.numbers.serverLoad, 0.75)
  made.use({ ...settings, deadlineMs: 3_000 })
  assert.equal(made.quote(5_000).numbers.serverLoad, 0.25)
  servers.heard('one', { online: false, boot: 1 })
  assert.deepEqual([made.quote(5_000).price, made.report?.serverLoad], [1, 1])
})

test('the link is that of the interface the connection is on, and else the one assumed', () => {
  const { pricing: made } = pricing({ prices: cabled })
  made.quote(5_000)
  assert.deepEqual([made.report?.link, made.metered], ['lte', true])
  made.connectedFrom('::ffff:127.0.0.1')
  made.quote(5_000)
  assert.deepEqual([made.report?.link, made.metered], ['cable', false])
  made.connectedFrom('192.0.2.1')
  assert.equal(made.metered, true)
  for (const [name, addresses] of Object.entries(networkInterfaces())) {
    for (const { address } of addresses ?? []) assert.equal(interfaceOf(address), name)
  }
})

test('the server seconds are those that verdicts report', () => {
  const { pricing: made } = pricing()
  assert.equal(made.quote(0).numbers.priceServer, 0)
  made.answered(2_000)
  assert.equal(made.quote(0).numbers.priceServer, 0.01)
  made.answered(1_000)
  assert.ok(Math.abs(made.quote(0).numbers.priceServer! - 0.009) < 1e-9)
})

/** The first inference that fits, of as many windows as it takes to hear of what was published meanwhile. */
async function inferUntil(edge: TestDevice, fits: (inference: Inference) => boolean): Promise<Inference> {
  const signal = AbortSignal.timeout(20_000)
  for (;;) {
    const [inference] = await edge.infer(sample.doubtful)
    if (fits(inference!)) return inference!
    signal.throwIfAborted()
    await setImmediate() // A window that is accepted never leaves the process: let messages in.
  }
}

const calibrated = { policy: { name: 'calibrated', parameters: {} } }

test('every inference carries the price of its escalation in parts, and health the link it was on', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, { ...calibrated, prices: cabled, healthIntervalS: 0.05 })
  await edge.online()
  const [inference] = await edge.infer(sample.doubtful)
  const escalation = await watcher.seeOne('escalation')
  assert.equal(escalation.id, inference!.id)
  const { numbers } = inference!
  for (const name of ['price', 'bytes', 'priceBytes', 'priceEnergy', 'priceServer', 'missedFault', 'falseAlarm']) {
    assert.ok(Number.isFinite(numbers?.[name]), name)
  }
  assert.equal(numbers?.falseAlarm, 0.25)
  const health = await watcher.seeOne('health', ({ price }) => price !== undefined)
  assert.equal(health.price?.link, 'cable')
  assert.equal(health.price?.metered, false)
  assert.ok(Math.abs(health.price!.value - numbers!.price!) < 1e-4)
})

test('a price list comes and goes while the agent runs', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, { ...calibrated, deadlineMs: 60 })
  await edge.online()
  const operator = watcher.session
  await operator.publish({ kind: 'config-desired', site, device }, { revision: 1, config: { prices: priceList } })
  await watcher.seeOne('config-reported', ({ revision, status }) => revision === 1 && status === 'applied')
  const [listed] = await edge.infer(sample.doubtful)
  assert.ok(listed!.numbers!.priceBytes! > 0)
  const tooDear = { ...priceList, links: { lte: { ...priceList.links.lte!, tariffPerMB: -1 } } }
  const wrong = Buffer.from(JSON.stringify({ revision: 2, config: { prices: tooDear } }))
  await operator.publishRaw({ kind: 'config-desired', site, device }, wrong)
  const refused = await watcher.seeOne('config-reported', ({ revision }) => revision === 2)
  assert.equal(refused.status, 'refused')
  assert.match(refused.error!.message, /config\.prices\.links\.lte\.tariffPerMB/)
  await operator.publish({ kind: 'config-desired', site, device }, { revision: 3, config: { prices: null } })
  await watcher.seeOne('config-reported', ({ revision }) => revision === 3)
  const [plain] = await edge.infer(sample.doubtful)
  assert.deepEqual([plain!.numbers!.price, plain!.numbers!.priceBytes], [0.2, undefined])
})

test('a server that announces a queue makes devices ask less, and more again when it is done', async t => {
  const broker = await startAgentBroker(t)
  const voice = await startVoice(t, broker)
  const operator = await observe(t, broker)
  const announce = (waitMs: number) =>
    voice.publish({ kind: 'server-state', server: 'voice' }, serverState(waitMs, tinyTask))
  /** What was announced before has been heard: a device is sent one thing after the other. */
  const heard = async (id: string) => {
    await operator.session.publish({ kind: 'command', site, device }, { id, name: 'ping', args: {} })
    await operator.seeOne('command-result', result => result.id === id)
  }
  await announce(0)
  const dear = { ...priceList, links: { lte: { ...priceList.links.lte!, tariffPerMB: 200 } } }
  const edge = await startDevice(t, broker, { ...calibrated, prices: dear, deadlineMs: 100 })
  await edge.online()
  const next = async () => {
    const [inference] = await edge.infer(sample.doubtful)
    return [inference!.numbers!.serverLoad, inference!.reason]
  }
  await heard('first')
  assert.deepEqual(await next(), [undefined, 'cheaper-to-ask'])
  await announce(90)
  await heard('second')
  assert.deepEqual(await next(), [0.9, 'cheaper-to-accept'])
  await announce(0)
  await heard('third')
  assert.deepEqual(await next(), [undefined, 'cheaper-to-ask'])
})

test('a server agent announces how long its queue will take', async t => {
  const broker = await startAgentBroker(t)
  const model = new TinyServerModel()
  let release = () => {}
  t.after(() => release()) // Before the server agent, which finishes what it has.
  const watcher = await observe(t, broker)
  await startServer(t, broker, { classifiers: new Map([[tinyTask, model]]), maxBatch: 1, stateIntervalMs: 10 })
  const edge = await startDevice(t, broker)
  await edge.online()
  await edge.infer(sample.doubtful)
  release = model.hold()
  edge.source.give(sample.doubtful, sample.doubtful, sample.doubtful)
  const busy = await watcher.seeOne('server-state', state => state.online && state.load.queued > 1)
  assert.ok(busy.online && busy.load.waitMs! > 0)
})

test('a device hears of servers only where their load has a price', async t => {
  const broker = await startAgentBroker(t)
  const voice = await startVoice(t, broker)
  await voice.publish({ kind: 'server-state', server: 'voice' }, { online: false, boot: 1 })
  const { session: operator } = await observe(t, broker)
  const prices = (followServers: boolean) => ({ ...priceList, followServers })
  const edge = await startDevice(t, broker, { ...calibrated, prices: prices(false), deadlineMs: 60 })
  await edge.online()
  const received = edge.agent.health!.bytes.received
  await edge.infer(sample.normal)
  assert.equal(edge.agent.health!.bytes.received, received)
  await operator.publish({ kind: 'config-desired', site, device }, { revision: 1, config: { prices: prices(true) } })
  const { numbers } = await inferUntil(edge, ({ numbers }) => numbers!.serverLoad !== undefined)
  assert.deepEqual([numbers!.serverLoad, numbers!.price], [1, 1])
})
