import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { encodePayload, identityOf, type TopicKind } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { InfluxDB } from 'influx'
import mqtt from 'mqtt'
import { measurements } from '../../telemetry/point.ts'
import { Recorder } from '../../telemetry/recorder.ts'
import { InfluxStore } from '../../telemetry/stores/influx.ts'
import { startInfluxd } from '../support/influxd.ts'
import { missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { inference, iso, model, recordedKinds, samples, topicFor } from './messages.ts'
import { startPlainBroker } from './plain-broker.ts'

interface Panel {
  id: number
  type: string
  title: string
  gridPos: { x: number; y: number; w: number; h: number }
  datasource?: { uid: string }
  targets?: { query: string; rawQuery: boolean; datasource: { type: string; uid: string } }[]
}
interface Variable {
  name: string
  type: string
  query: string
}

const file = new URL('../../telemetry/grafana/faultline.json', import.meta.url)
const dashboard = JSON.parse(await readFile(file, 'utf8')) as {
  schemaVersion: number
  uid: string
  title: string
  panels: Panel[]
  templating: { list: Variable[] }
}
const shown = dashboard.panels.filter(({ type }) => type !== 'row')
const queries = shown.flatMap(({ title, targets }) => targets!.map(({ query }) => ({ title, query })))
const variables = dashboard.templating.list.filter(({ type }) => type === 'query')

const minute = 60_000
const hour = 60 * minute
/** Whole hours ago, so that all points lie in one bucket. */
const begin = Date.now() - (Date.now() % hour) - 2 * hour
const range = { from: begin - 24 * hour, to: Date.now() + minute }

/** As Grafana fills in its macros and variables, `All` chosen. */
const filledIn = (query: string): string =>
  query
    .replaceAll('$timeFilter', `time >= ${range.from}ms and time <= ${range.to}ms`)
    .replaceAll('$__interval', '1m')
    .replaceAll(/\$(site|machine)\b/g, '.*')

test('the dashboard can be imported: a schema, panels that do not overlap, a data source to choose', () => {
  assert.ok(dashboard.schemaVersion >= 36 && dashboard.uid === 'faultline' && dashboard.title === 'Faultline')
  assert.ok(
    dashboard.templating.list.some(
      ({ name, type, query }) => name === 'datasource' && type === 'datasource' && query === 'influxdb',
    ),
  )
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length)
  for (const { title, targets, gridPos } of shown) {
    assert.ok(gridPos.x + gridPos.w <= 24, title)
    for (const { datasource, rawQuery } of targets!) {
      assert.deepEqual([datasource.type, rawQuery], ['influxdb', true], title)
      assert.match(datasource.uid, /^\$\{datasource\}$/)
    }
  }
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)},${y + Math.floor(i / w)}`),
  )
  assert.equal(new Set(cells).size, cells.length)
})

test('every measurement is on the dashboard', () => {
  for (const name of measurements)
    assert.ok(
      queries.some(({ query }) => query.includes(`"${name}"`)),
      name,
    )
})

test('every query of the dashboard gives rows of what the recorder wrote', { skip: missing('influxd') }, async t => {
  const influxd = await startInfluxd(t)
  const { url } = await startPlainBroker(t)
  const store = new InfluxStore({ url: influxd.url })
  await store.start()
  const recorder = new Recorder({
    broker: { url, identity: identityOf('recorder', 'main'), secret: 'recorder-secret' },
    store,
    spool: { directory: await temporaryDirectory(t) },
    logger: silentLogger,
    batch: { maxPoints: 5_000, maxDelayMs: 10 },
  })
  await recorder.start()
  await recorder.whenOnline(AbortSignal.timeout(20_000))
  const client = await mqtt.connectAsync(url)
  t.after(() => client.endAsync(true))
  const publish = (kind: TopicKind, payload: object) =>
    client.publishAsync(topicFor(kind), encodePayload(kind, payload as never), { qos: 1 })
  let points = 0
  for (const [i, kind] of [...recordedKinds, ...recordedKinds].entries()) {
    const at = iso(begin + (i < recordedKinds.length ? 0 : minute))
    const sample = samples[kind]
    const dated = kind === 'summary' ? { from: iso(begin - minute), to: at } : kind === 'verdict' ? {} : { at }
    await publish(kind, { ...sample, ...dated })
    points++
  }
  const server = { label: 'ball', confidence: 0.97, model, agent: 'server-1' }
  await publish('inference', inference({ at: iso(begin), reason: 'audit', outcome: 'answered', server }))
  points += 2
  while (recorder.counts.recorded < points) await pause(10, undefined, { signal: t.signal })
  await recorder.stop()
  await store.rollUp(begin, Date.now())
  await store.stop()

  const influx = new InfluxDB(`${influxd.url}/faultline`)
  for (const { title, query } of queries) {
    const rows = await influx.query(filledIn(query))
    assert.ok(rows.length > 0, `${title}: ${filledIn(query)}`)
  }
  for (const { name, query } of variables) {
    const rows = await influx.query<{ value: string }>(filledIn(query))
    assert.deepEqual(
      rows.map(({ value }) => value),
      [name === 'site' ? 'plant-a' : 'press-3'],
    )
  }
})
