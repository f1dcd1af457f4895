import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { encodePayload } from '@faultline/protocol'
import { generate } from 'mqtt-packet'
import { InfluxStore } from '../../telemetry/stores/influx.ts'
import { startInfluxd } from '../support/influxd.ts'
import { startScript } from '../support/processes.ts'
import { missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { rounds } from '../support/thorough.ts'
import { inference, iso, model, topicFor } from './messages.ts'
import { startPlainBroker } from './plain-broker.ts'
import { publishAll, startWriteWitness } from './write-witness.ts'

/** Audits, which make two points each: 100,000 in CI. */
const windows = rounds(50_000)
/** So many shares of a fifth of them have been published. */
const fifths = (count: number) => (count * windows) / 5
const idOf = (i: number) => `window-${String(i).padStart(6, '0')}`

/** A day ago, so that they lie within the default retention; one each millisecond. */
const begin = Date.now() - 86_400_000

function packets(): Buffer[] {
  const topic = topicFor('inference')
  // Encoding goes through the schema; one inference stands for all, with another id and time in its place.
  const template = encodePayload(
    'inference',
    inference({
      id: idOf(0),
      at: iso(begin),
      reason: 'audit',
      outcome: 'answered',
      server: { label: 'ball', confidence: 0.97, model, agent: 'server-1' },
      features: {},
      numbers: undefined,
    }),
  ).toString()
  return Array.from({ length: windows }, (_, i) => {
    const payload = template.replace(idOf(0), idOf(i)).replace(iso(begin), iso(begin + i))
    return generate({ cmd: 'publish', topic, payload, qos: 1, messageId: 1 + i, retain: false, dup: false })
  })
}

test(`${(2 * windows).toLocaleString('en')} points come to InfluxDB, each once and in order, though it is killed twice and the recorder once`, {
  skip: missing('influxd'),
  timeout: 300_000,
}, async t => {
  const influxd = await startInfluxd(t)
  const witness = await startWriteWitness(t, influxd.url)
  const { url } = await startPlainBroker(t)
  const directory = await temporaryDirectory(t)
  const config = join(directory, 'recorder.yaml')
  await writeFile(
    config,
    JSON.stringify({
      broker: { url, identity: 'recorders/main', secret: 'recorder-secret' },
      store: { kind: 'influx', url: witness.url },
      spool: { directory: join(directory, 'spool') },
      operations: { port: 0 },
    }),
  )
  const startRecorder = async () => {
    const program = startScript(t, 'telemetry/main.ts', ['--config', config])
    const [, port] = await program.said(/"port":(\d+),"msg":"operations listen"/)
    await program.said(/connected to the broker/)
    const metric = async (name: string) => {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
      return Number(new RegExp(`^faultline_recorder_${name} (\\S+)$`, 'm').exec(text)?.[1])
    }
    return { program, port, metric }
  }
  let recorder = await startRecorder()
  const ready = async () => (await fetch(`http://127.0.0.1:${recorder.port}/readyz`)).status
  assert.equal(await ready(), 200)

  const { written } = witness
  const untilWritten = async (points: number) => {
    while (written.length < points) await pause(20, undefined, { signal: t.signal })
  }
  // So that what a broker sends again after a break of the connection is not mixed with what is new.
  const untilReceived = async (windows: number) => {
    const received = async () => (await recorder.metric('points_total')) + (await recorder.metric('waiting_points'))
    while ((await received()) < 2 * (windows - before)) await pause(20, undefined, { signal: t.signal })
  }
  /** Windows that the recorder before this one was told of. */
  let before = 0
  const pace = async (published: number) => {
    const isDown = published > fifths(2) && published < fifths(3)
    if (!isDown && published !== fifths(3)) await untilReceived(published)
    if (published === fifths(1)) {
      await untilWritten(fifths(1) / 2)
      await influxd.stop('SIGKILL')
    } else if (published === fifths(2)) {
      while ((await ready()) === 200) await pause(20, undefined, { signal: t.signal })
      assert.equal(await recorder.metric('store_up'), 0)
      // What it was told of is in its spool.
      await recorder.program.stop('SIGKILL')
    } else if (published === fifths(3)) {
      recorder = await startRecorder()
      await influxd.start()
      await untilWritten(2 * published)
      before = published - (await recorder.metric('points_total')) / 2
    } else if (published === fifths(4)) {
      await influxd.stop('SIGKILL')
      await influxd.start()
    }
  }
  await publishAll(url, packets(), { window: windows / 25, pace })
  await untilWritten(2 * windows)

  const store = new InfluxStore({ url: influxd.url })
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: windows }])
  assert.equal((await store.audits())[0]?.audits, windows)
  assert.equal(written.length, 2 * windows)
  assert.equal(
    written.findIndex((point, i) => point !== `${i % 2 === 0 ? 'inference' : 'audit'} ${idOf(i >> 1)}`),
    -1,
    recorder.program.output,
  )
  assert.equal(witness.requests.compressed, witness.requests.all)
  // Some batches are small where the kill tore them; most are full.
  assert.ok(witness.requests.all < 100, `${witness.requests.all} writes`)
  assert.equal(await recorder.metric('dropped_points_total{reason="full"}'), 0)
  assert.equal(await recorder.metric('set_aside_points_total'), 0)
  assert.equal(await ready(), 200)
  assert.equal(await recorder.program.stop(), 0)
})
