import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { encodePayload, identityOf, type TopicKind, topicFilter } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import mqtt from 'mqtt'
import { RecorderMetrics } from '../../telemetry/metrics.ts'
import { Recorder } from '../../telemetry/recorder.ts'
import { StoreError, type TelemetryStore } from '../../telemetry/store.ts'
import { InfluxStore } from '../../telemetry/stores/influx.ts'
import { SqliteStore } from '../../telemetry/stores/sqlite.ts'
import { startInfluxd } from '../support/influxd.ts'
import { startScript } from '../support/processes.ts'
import { missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { forever, inference, iso, noon, recordedKinds, samples, topicFor } from './messages.ts'
import { ObservedStore } from './observed-store.ts'
import { startPlainBroker } from './plain-broker.ts'

const identity = identityOf('recorder', 'main')
const secret = 'recorder-secret'
const nothing = { full: 0, age: 0, disk: 0 }

async function connect(t: TestContext, url: string) {
  const client = await mqtt.connectAsync(url)
  t.after(() => client.endAsync(true))
  return {
    raw: (topic: string, payload: string | Buffer) => client.publishAsync(topic, payload, { qos: 1 }),
    inference: (changes: Parameters<typeof inference>[0] = {}) =>
      client.publishAsync(topicFor('inference'), encodePayload('inference', inference(changes)), { qos: 1 }),
    sample: (kind: (typeof recordedKinds)[number]) =>
      client.publishAsync(topicFor(kind), encodePayload<TopicKind>(kind, samples[kind]), { qos: 1 }),
  }
}

/** For what has no event to wait for. */
async function until(condition: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  for (const end = performance.now() + timeoutMs; !(await condition()); await pause(10)) {
    assert.ok(performance.now() < end, `not ${condition} within ${timeoutMs} ms`)
  }
}

async function openFleet(
  t: TestContext,
  telemetry: TelemetryStore = new SqliteStore({ path: ':memory:', retention: forever }),
  refused?: string,
) {
  const { url } = await startPlainBroker(t, refused)
  const store = new ObservedStore(telemetry)
  await store.start()
  t.after(() => store.stop())
  const options = {
    broker: { url, identity, secret },
    store,
    spool: { directory: await temporaryDirectory(t) },
    logger: silentLogger,
    batch: { maxPoints: 500, maxDelayMs: 10 },
    backOff: { initialMs: 10, maximumMs: 50 },
  }
  const startRecorder = async (changes: Partial<typeof options> = {}) => {
    const recorder = new Recorder({ ...options, ...changes })
    t.after(() => recorder.stop())
    await recorder.start()
    await recorder.whenOnline(AbortSignal.timeout(30_000))
    return recorder
  }
  return { url, store, startRecorder, publish: await connect(t, url) }
}

test('a broker that does not know of update statuses yet is no reason to record nothing else', async t => {
  const { store, startRecorder, publish } = await openFleet(t, undefined, topicFilter('update-status'))
  await startRecorder()
  await publish.sample('update-status')
  await publish.sample('health')
  await store.untilWritten(1)
  assert.deepEqual(await store.updates(), [])
})

test('every kind of message that a fleet publishes is recorded once', async t => {
  const { store, startRecorder, publish } = await openFleet(t)
  const recorder = await startRecorder()
  for (const kind of recordedKinds) await publish.sample(kind)
  // Deliveries of QoS 1 may repeat themselves.
  for (const kind of recordedKinds) await publish.sample(kind)
  await store.untilWritten(2 * recordedKinds.length)
  assert.deepEqual(recorder.counts, {
    recorded: 2 * recordedKinds.length,
    dropped: nothing,
    setAside: 0,
    refused: 0,
    unknown: 0,
    held: 0,
    waiting: 0,
  })
  assert.deepEqual(await store.counts({ groupBy: ['machine', 'outcome'] }), [
    { machine: 'press-3', outcome: 'answered', count: 1 },
  ])
  const hour = 3_600_000
  const verdicts = await store.series({
    measurement: 'verdict',
    field: 'inferMs',
    since: Date.now() - hour,
    until: Date.now() + hour,
    every: 1 + 2 * hour,
  })
  assert.equal(verdicts.length, 1)
})

test('what is on its way up, and what is asked of devices, is not recorded', async t => {
  const { store, startRecorder, publish } = await openFleet(t)
  const recorder = await startRecorder()
  await publish.raw(topicFor('command'), encodePayload('command', { id: 'c', name: 'capture', args: {} }))
  await publish.raw(topicFor('config-desired'), encodePayload('config-desired', { revision: 1, config: {} }))
  await publish.raw(topicFor('escalation'), Buffer.from([0xff]))
  await publish.inference()
  await store.untilWritten(1)
  assert.deepEqual(recorder.counts, {
    recorded: 1,
    dropped: nothing,
    setAside: 0,
    refused: 0,
    unknown: 0,
    held: 0,
    waiting: 0,
  })
})

test('hostile payloads are refused and counted, and the recorder goes on', async t => {
  const { store, startRecorder, publish } = await openFleet(t)
  const recorder = await startRecorder()
  const hostile = [
    'not JSON',
    '{"id":',
    '[]',
    'null',
    Buffer.from([0xff, 0xfe, 0x00]),
    JSON.stringify({ ...inference(), confidence: 7 }),
    JSON.stringify({ ...inference(), latencyMs: -1 }),
    JSON.stringify({ ...inference(), at: '0001-01-01T00:00:00.000Z' }),
    JSON.stringify(inference()).replace('12.5', '1e999'),
    Buffer.alloc(1_100_000, 0x20),
  ]
  for (const payload of hostile) await publish.raw(topicFor('inference'), payload)
  await publish.raw('faultline/v1/devices/PLANT/press-3/points/motor-de/inference', JSON.stringify(inference()))
  await publish.inference({ id: 'good' })
  await store.untilWritten(1)
  assert.deepEqual(
    (await store.inferences()).map(row => row.id),
    ['good'],
  )
  assert.deepEqual(recorder.counts, {
    recorded: 1,
    dropped: nothing,
    setAside: 0,
    refused: hostile.length,
    unknown: 1,
    held: 0,
    waiting: 0,
  })
})

test('what is published while the recorder restarts is delivered when it is back', async t => {
  const { store, startRecorder, publish } = await openFleet(t)
  const first = await startRecorder()
  await publish.inference({ id: 'before' })
  await store.untilWritten(1)
  await first.stop()
  for (let i = 0; i < 20; i++) await publish.inference({ id: `between-${i}`, at: iso(noon + i + 1) })
  await startRecorder()
  await publish.inference({ id: 'after', at: iso(noon + 100) })
  await store.untilWritten(22)
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 22 }])
})

test('a verdict and a will that are delivered again after a restart are the same points', async t => {
  const { store, startRecorder, publish } = await openFleet(t)
  const will = encodePayload('state', { online: false, boot: 4 })
  const points: unknown[] = []
  store.on('write', written => points.push(...written))
  for (const _ of [1, 2]) {
    const recorder = await startRecorder()
    await publish.sample('verdict')
    await publish.raw(topicFor('state'), will)
    await until(() => recorder.counts.recorded === 2)
    await recorder.stop()
  }
  assert.equal(points.length, 4)
  assert.deepEqual(points.slice(2), points.slice(0, 2))
  // A will after the device was online again is of another break.
  const recorder = await startRecorder()
  await publish.sample('state')
  await publish.raw(topicFor('state'), will)
  await until(() => recorder.counts.recorded === 2)
  assert.notDeepEqual(points[5], points[1])
})

test('the metrics say what the recorder has done, and the reference describes each', async t => {
  const { store, startRecorder, publish } = await openFleet(t)
  const recorder = await startRecorder()
  const { registry } = new RecorderMetrics(recorder)
  const series = async () => {
    const lines = (await registry.metrics()).split('\n').filter(line => line.startsWith('faultline_recorder_'))
    return Object.fromEntries(lines.map(line => line.replace('faultline_recorder_', '').split(' ')))
  }
  const atStart = await series()
  assert.deepEqual(recorder.notReady(), [])
  const text = await readFile(new URL('../../docs/reference/metrics.md', import.meta.url), 'utf8')
  const section = text.split(/^## /m).find(part => part.startsWith('Recorder\n'))!
  for (const name of Object.keys(atStart)) assert.ok(section.includes(`\`${name.replace(/\{.*/, '')}\``), name)
  assert.deepEqual([atStart.points_total, atStart.store_up, atStart.broker_connected], ['0', '1', '1'])
  assert.equal(atStart['dropped_points_total{reason="full"}'], '0')

  store.failWith = () => new StoreError('away')
  const failed = once(store, 'failure')
  await publish.inference()
  await failed
  await until(async () => (await series()).store_up === '0')
  assert.equal((await series()).waiting_points, '1')
  assert.match(recorder.notReady().join(), /the store is away, 1 points wait: away/)
  store.failWith = () => undefined
  await store.untilWritten(1)
  await until(async () => (await series()).points_total === '1')
  assert.deepEqual(recorder.notReady(), [])
  await recorder.stop()
  assert.deepEqual(recorder.notReady(), ['not connected to the broker'])
})

test('stopping writes what has arrived', async t => {
  const { store, startRecorder, publish } = await openFleet(t)
  const recorder = await startRecorder({ batch: { maxPoints: 500, maxDelayMs: 60_000 } })
  for (let i = 0; i < 4; i++) await publish.inference()
  await until(() => recorder.counts.waiting === 4)
  assert.equal(recorder.counts.recorded, 0)
  await recorder.stop()
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 4 }])
  assert.equal(recorder.counts.recorded, 4)
})

test('a store that is away for a while costs nothing', async t => {
  const { store, startRecorder, publish } = await openFleet(t)
  const recorder = await startRecorder()
  store.failWith = () => new StoreError('away')
  const failed = once(store, 'failure')
  for (let i = 0; i < 50; i++) await publish.inference()
  await failed
  store.failWith = () => undefined
  await store.untilWritten(50)
  assert.deepEqual(recorder.counts, {
    recorded: 50,
    dropped: nothing,
    setAside: 0,
    refused: 0,
    unknown: 0,
    held: 0,
    waiting: 0,
  })
})

test('InfluxDB that goes and comes back has everything', { skip: missing('influxd') }, async t => {
  const influxd = await startInfluxd(t)
  const { store, startRecorder, publish } = await openFleet(
    t,
    new InfluxStore({ url: influxd.url, retention: forever }),
  )
  await startRecorder()
  await publish.inference()
  await store.untilWritten(1)
  await influxd.stop()
  const failed = once(store, 'failure')
  for (let i = 0; i < 20; i++) await publish.inference()
  await failed
  await influxd.start()
  await store.untilWritten(21)
  assert.deepEqual(await store.counts({ groupBy: ['machine'] }), [{ machine: 'press-3', count: 21 }])
})

test('the program records from its configuration file, and flushes when it is told to end', async t => {
  const { url } = await startPlainBroker(t)
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'telemetry.sqlite')
  const config = join(directory, 'recorder.yaml')
  await writeFile(
    config,
    JSON.stringify({
      broker: { url, identity: 'recorders/main', secret },
      store: { kind: 'sqlite', path, retention: { rawDays: 36_500 } },
      batch: { maxPoints: 500, maxDelayMs: 60_000 },
      spool: { directory: join(directory, 'spool') },
    }),
  )
  const program = startScript(t, 'telemetry/main.ts', ['--config', config])
  await program.said(/connected to the broker/)
  const publish = await connect(t, url)
  await publish.inference()
  // Deliveries are in order: a refusal that is logged comes after the inference before it.
  await publish.raw(topicFor('inference'), 'not JSON')
  await program.said(/message refused/)
  assert.equal(await program.stop(), 0)
  assert.match(
    program.output,
    /"recorded":1,"dropped":\{"full":0,"age":0,"disk":0\},"setAside":0,"refused":1,"unknown":0,"held":0,"waiting":0/,
  )
  assert.doesNotMatch(program.output, new RegExp(secret))

  const store = new SqliteStore({ path, retention: forever })
  t.after(() => store.stop())
  await store.start()
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
})

test('the program says what it wants, and what is wrong, in one line', async t => {
  const directory = await temporaryDirectory(t)
  const config = join(directory, 'recorder.yaml')
  const run = async (...args: string[]) => {
    const program = startScript(t, 'telemetry/main.ts', args)
    return { code: await program.exited, output: program.output }
  }
  await writeFile(
    config,
    'broker: { url: mqtt://127.0.0.1, identity: devices/plant-a/press-3, secret: s }\nstore: { kind: sqlite, path: x }\n',
  )
  const folder = join(directory, 'folder.yaml')
  await writeFile(
    folder,
    `broker: { url: mqtt://127.0.0.1, identity: recorders/main, secret: s }\nstore: { kind: sqlite, path: ${directory} }\n`,
  )
  const [help, wrongRole, nothing, absent, noFile] = await Promise.all([
    run('--help'),
    run('--config', config),
    run(),
    run('--config', join(directory, 'none.yaml')),
    run('--config', folder),
  ])
  assert.equal(help.code, 0)
  assert.match(help.output, /--config <file>/)
  assert.equal(wrongRole.code, 2)
  assert.match(wrongRole.output, /^error CONFIG_INVALID: broker\.identity: .*recorders\/\{id\}\n$/)
  assert.equal(nothing.code, 2)
  assert.match(nothing.output, /^error CONFIG_INVALID: configuration: broker: .*\n$/)
  assert.equal(absent.code, 1)
  assert.match(absent.output, /^error CONFIG_UNREADABLE: .*none\.yaml.*\n$/)
  assert.equal(noFile.code, 1)
  assert.match(noFile.output, /^error DATABASE_FAILED: .*check the path \("ls -l .*"\).*\n$/m)
})
