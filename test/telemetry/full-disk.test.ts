import assert from 'node:assert/strict'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { encodePayload, identityOf } from '@faultline/protocol'
import { createLogger } from '@faultline/runtime'
import mqtt from 'mqtt'
import { RecorderMetrics } from '../../telemetry/metrics.ts'
import { Recorder } from '../../telemetry/recorder.ts'
import { SqliteStore } from '../../telemetry/stores/sqlite.ts'
import { startScript } from '../support/processes.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { forever, inference, iso, noon, topicFor } from './messages.ts'
import { startPlainBroker } from './plain-broker.ts'

async function connect(t: TestContext, url: string) {
  const client = await mqtt.connectAsync(url)
  t.after(() => client.endAsync(true))
  return async (from: number, to: number) => {
    const topic = topicFor('inference')
    for (let i = from; i < to; i++) {
      await client.publishAsync(topic, encodePayload('inference', inference({ id: `${i}`, at: iso(noon + i) })), {
        qos: 1,
      })
    }
  }
}

/** For what has no event to wait for. */
async function until(t: TestContext, isSo: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await isSo())) await pause(20, undefined, { signal: t.signal })
}

test('while the spool cannot be written nothing is acknowledged, and the recorder says so once and recovers', {
  timeout: 60_000,
}, async t => {
  const { url } = await startPlainBroker(t)
  const store = new SqliteStore({ path: ':memory:', retention: forever })
  await store.start()
  t.after(() => store.stop())
  const directory = await temporaryDirectory(t)
  const log = join(await temporaryDirectory(t), 'log')
  const recorder = new Recorder({
    broker: { url, identity: identityOf('recorder', 'main'), secret: 'recorder-secret' },
    store,
    spool: { directory },
    logger: createLogger('recorder', { file: log }),
    batch: { maxPoints: 10, maxDelayMs: 10 },
  })
  t.after(() => recorder.stop())
  await recorder.start()
  await recorder.whenOnline(AbortSignal.timeout(10_000))
  const publish = await connect(t, url)
  await publish(0, 10)
  await until(t, () => recorder.counts.recorded === 10)

  // A directory in the place of the next file is as good as a full disk; there have been ten at most.
  const numbers = Array.from({ length: 10 }, (_, i) => `${String(i + 2).padStart(12, '0')}.ndjson`)
  const obstacles = [...numbers, 'probe'].map(name => join(directory, name))
  for (const obstacle of obstacles) await mkdir(obstacle)
  await publish(10, 60)
  await until(t, () => recorder.counts.held > 0)
  await publish(60, 100)
  const { registry } = new RecorderMetrics(recorder)
  assert.match(await registry.metrics(), /^faultline_recorder_spool_up 0$/m)
  assert.match(recorder.notReady().join(), /the spool cannot be written, messages wait at the broker: EISDIR/)
  // Longer than the disk is left alone for: it is looked at again, and still takes nothing.
  await pause(1_500)
  assert.deepEqual(recorder.counts, {
    recorded: 10,
    dropped: { full: 0, age: 0, disk: 0 },
    setAside: 0,
    refused: 0,
    unknown: 0,
    held: 1,
    waiting: 0,
  })
  assert.equal((await readFile(log, 'utf8')).match(/"msg":"the spool cannot be written/g)?.length, 1)

  for (const obstacle of obstacles) await rm(obstacle, { recursive: true })
  await until(t, () => recorder.counts.recorded === 100)
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 100 }])
  assert.deepEqual(recorder.notReady(), [])
  assert.match(await registry.metrics(), /^faultline_recorder_spool_up 1$/m)
})

test('a recorder that is killed on a full disk has lost nothing that it acknowledged, and starts on it', {
  timeout: 120_000,
}, async t => {
  const disk = await SmallDisk.make(t, 1_048_576)
  if (!disk) return t.skip('needs the right to mount')
  const { url } = await startPlainBroker(t)
  const config = join(await temporaryDirectory(t), 'recorder.yaml')
  const path = join(disk.directory, 'telemetry.sqlite')
  await writeFile(
    config,
    JSON.stringify({
      broker: { url, identity: 'recorders/main', secret: 'recorder-secret' },
      store: { kind: 'sqlite', path, retention: { rawDays: 36_500 } },
      spool: { directory: join(disk.directory, 'spool') },
      operations: { port: 0 },
    }),
  )
  const start = async () => {
    const program = startScript(t, 'telemetry/main.ts', ['--config', config])
    const [, port] = await program.said(/"port":(\d+),"msg":"operations listen"/)
    const ask = async (page: string) => {
      const answer = await fetch(`http://127.0.0.1:${port}/${page}`)
      return { status: answer.status, text: await answer.text() }
    }
    const metric = async (name: string) =>
      Number(new RegExp(`^faultline_recorder_${name} (\\S+)$`, 'm').exec((await ask('metrics')).text)?.[1])
    return { program, ask, metric }
  }
  const count = 3_000
  const first = await start()
  await first.program.said(/connected to the broker/)
  const publish = await connect(t, url)
  await publish(0, count)
  await until(t, async () => (await first.metric('held_messages_total')) > 0 && (await first.metric('store_up')) === 0)
  assert.deepEqual(
    [(await first.ask('readyz')).status, await first.metric('spool_up'), await first.metric('store_up')],
    [503, 0, 0],
  )
  await first.program.stop('SIGKILL')

  disk.fill()
  const second = await start()
  await second.program.said(/the telemetry store is away|the spool cannot be written/)
  assert.equal((await second.ask('readyz')).status, 503)
  await until(t, async () => (await second.metric('spool_up')) === 0 || (await second.metric('store_up')) === 0)
  await second.program.stop('SIGKILL')

  const third = await start()
  disk.resize(67_108_864)
  await until(t, async () => (await third.ask('readyz')).status === 200 && (await third.metric('waiting_points')) === 0)
  const store = new SqliteStore({ path, readOnly: true })
  await store.start()
  t.after(() => store.stop())
  await until(t, async () => (await store.counts({ groupBy: [] }))[0]?.count === count)
  for (const reason of ['full', 'age', 'disk'])
    assert.equal(await third.metric(`dropped_points_total\\{reason="${reason}"\\}`), 0)
  assert.equal(await third.program.stop(), 0)
})
