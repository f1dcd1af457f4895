import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { FaultlineError } from '@faultline/protocol'
import { InfluxDB } from 'influx'
import type { Retention } from '../../telemetry/retention.ts'
import { StoreError } from '../../telemetry/store.ts'
import { InfluxStore } from '../../telemetry/stores/influx.ts'
import { type Influxd, startInfluxd } from '../support/influxd.ts'
import { missing } from '../support/programs.ts'
import { forever, inferencePoint, iso, noon } from './messages.ts'
import { testStore } from './store-suite.ts'

const skip = missing('influxd')
let influxd: Influxd
let databases = 0

// One server for the whole file, one database for each test.
const cleanUp: (() => Promise<void>)[] = []
before(async () => {
  if (!skip) influxd = await startInfluxd({ after: clean => void cleanUp.push(clean) })
})
after(async () => {
  for (const clean of cleanUp) await clean()
})

const freshDatabase = (): string => `faultline "${++databases}"`

testStore('influx', {
  skip,
  async open(t, retention = forever) {
    const store = new InfluxStore({ retention, url: influxd.url, database: freshDatabase() })
    t.after(() => store.stop())
    await store.start()
    return store
  },
})

test('influx: a database dropped meanwhile is made again by the next write', { skip }, async () => {
  const database = freshDatabase()
  const store = new InfluxStore({ retention: forever, url: influxd.url, database })
  await store.start()
  await new InfluxDB(influxd.url).dropDatabase(database)
  await store.write([inferencePoint()])
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
})

test('influx: a store that is only read has to be there, and is not made', { skip }, async () => {
  const database = freshDatabase()
  const reader = new InfluxStore({ retention: forever, url: influxd.url, database, readOnly: true })
  const missing = (error: unknown) => error instanceof FaultlineError && error.code === 'STORE_NOT_FOUND'
  await assert.rejects(reader.start(), missing)
  assert.ok(!(await new InfluxDB(influxd.url).getDatabaseNames()).includes(database))
  const writer = new InfluxStore({ retention: forever, url: influxd.url, database })
  await writer.start()
  await assert.rejects(reader.start(), missing)
  await writer.write([inferencePoint()])
  await reader.start()
  assert.deepEqual(await reader.counts({ groupBy: [] }), [{ count: 1 }])
})

test('influx: points it refuses are named with the reason, the others of the batch are in', { skip }, async () => {
  const store = new InfluxStore({ retention: forever, url: influxd.url, database: freshDatabase() })
  await store.start()
  const point = inferencePoint()
  assert.deepEqual(await store.write([point]), [])
  const wrongType = { ...inferencePoint(), fields: { ...point.fields, latencyMs: 'twelve' } }
  const batch = Array.from({ length: 50 }, () => inferencePoint())
  const refused = await store.write([...batch, wrongType, inferencePoint()])
  assert.deepEqual(
    refused.map(entry => entry.point),
    [wrongType],
  )
  assert.match(refused[0]!.reason, /field type conflict/)
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 52 }])
})

test('influx: a server that is away gives STORE_FAILED and may be asked again at once', { skip }, async t => {
  const server = await startInfluxd(t)
  const store = new InfluxStore({ retention: forever, url: server.url })
  await store.start()
  await server.stop()
  const failed = (error: unknown) => error instanceof StoreError && error.code === 'STORE_FAILED' && error.retryable
  await assert.rejects(store.write([inferencePoint()]), failed)
  await assert.rejects(store.inferences(), failed)
  await assert.rejects(new InfluxStore({ retention: forever, url: server.url }).start(), failed)
  await server.start()
  await store.write([inferencePoint()])
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
})

test('influx: a user without the right to create databases may use one that is there', { skip }, async t => {
  const server = await startInfluxd(t, { authentication: true })
  // The first user of a server may be created by anybody.
  await fetch(`${server.url}/query`, {
    method: 'POST',
    body: new URLSearchParams({ q: `CREATE USER "admin" WITH PASSWORD 'a' WITH ALL PRIVILEGES` }),
  })
  const admin = new InfluxDB(server.url.replace('//', '//admin:a@'))
  await admin.createDatabase('faultline')
  await admin.createUser('recorder', 'p@ss:word')
  await assert.rejects(
    new InfluxStore({ retention: forever, url: server.url, username: 'recorder', password: 'p@ss:word' }).start(),
  )
  await admin.query('GRANT ALL ON "faultline" TO "recorder"', { method: 'POST', database: 'faultline' })

  const store = new InfluxStore({ retention: forever, url: server.url, username: 'recorder', password: 'p@ss:word' })
  await store.start()
  await store.write([inferencePoint()])
  const inUrl = new InfluxStore({ retention: forever, url: server.url.replace('//', '//recorder:p%40ss%3Aword@') })
  assert.deepEqual(await inUrl.counts({ groupBy: [] }), [{ count: 1 }])
  await assert.rejects(
    new InfluxStore({ retention: forever, url: server.url, username: 'recorder', password: 'wrong' }).start(),
    {
      code: 'STORE_FAILED',
    },
  )
})

test('influx: retention policies follow the configuration, and continuous queries are made once', {
  skip,
}, async () => {
  const database = freshDatabase()
  // The client wants a database to speak of, though these statements do not.
  const client = new InfluxDB(`${influxd.url}/any`)
  const policies = async () =>
    (await client.query<Record<string, unknown>>(`SHOW RETENTION POLICIES ON ${JSON.stringify(database)}`)).map(
      ({ name, duration, default: isDefault }) => [name, duration, isDefault],
    )
  const queries = async () => {
    const all = await client.query<{ name: string; query: string }>('SHOW CONTINUOUS QUERIES')
    return all
      .groups()
      .find(({ name }) => name === database)!
      .rows.map(row => row.name)
  }
  const start = async (retention?: Retention) => {
    await new InfluxStore({ url: influxd.url, database, retention }).start()
  }
  await start()
  assert.deepEqual(await policies(), [
    ['autogen', '0s', false],
    ['raw', '720h0m0s', true],
    ['minutes', '8760h0m0s', false],
    ['hours', '87600h0m0s', false],
  ])
  const made = await queries()
  assert.equal(made.filter(name => name.startsWith('faultline_minutes_inference_')).length, 1)
  assert.equal(made.filter(name => name.startsWith('faultline_hours_')).length, 6)
  // One of an earlier version goes; one that is not ours stays.
  for (const name of ['faultline_minutes_inference_00000000', 'mine']) {
    const query = 'SELECT count("id") INTO "a" FROM "inference" GROUP BY time(1m)'
    await client.query(`CREATE CONTINUOUS QUERY "${name}" ON ${JSON.stringify(database)} BEGIN ${query} END`, {
      method: 'POST',
      database,
    })
  }
  await start({ rawDays: 7.5, minuteDays: 365, hourDays: 3_650 })
  assert.deepEqual((await policies())[1], ['raw', '180h0m0s', true])
  assert.deepEqual((await queries()).toSorted(), [...made, 'mine'].toSorted())
})

test('influx: its continuous queries roll up by themselves', { skip }, async t => {
  const server = await startInfluxd(t, { continuousQueries: true })
  const store = new InfluxStore({ url: server.url })
  await store.start()
  const time = Date.now() - 2 * 60_000
  await store.write([inferencePoint({ at: iso(time) })])
  const minutes = () =>
    store.series({
      measurement: 'inference',
      field: 'latencyMs',
      since: time - 60_000,
      every: 60_000,
      tier: 'minutes',
    })
  for (let attempt = 0; attempt < 100 && (await minutes()).length === 0; attempt++) await pause(200)
  assert.deepEqual(
    (await minutes()).map(({ mean }) => mean),
    [12.5],
  )
})

test('influx: points too late for the continuous queries are rolled up when the store has them', { skip }, async () => {
  const store = new InfluxStore({ retention: forever, url: influxd.url, database: freshDatabase() })
  await store.write([inferencePoint()])
  await store.stop()
  const query = {
    measurement: 'inference',
    field: 'latencyMs',
    since: noon,
    until: noon + 1,
    every: 3_600_000,
  } as const
  for (const tier of ['minutes', 'hours'] as const) {
    assert.equal((await store.series({ ...query, tier })).length, 1, tier)
  }
})

test('influx: windows make points and no series', { skip }, async () => {
  const database = freshDatabase()
  const store = new InfluxStore({ retention: forever, url: influxd.url, database })
  await store.start()
  const client = new InfluxDB(influxd.url)
  const series = async () => (await client.getSeries({ database })).length
  await store.write([inferencePoint(), inferencePoint({ label: 'ball' })])
  const before = await series()
  await store.write(Array.from({ length: 2_000 }, (_, i) => inferencePoint({ at: iso(noon + i), latencyMs: i })))
  assert.deepEqual([before, await series()], [2, 2])
})

test('influx: an address that is none is refused', () => {
  for (const url of ['', 'localhost:8086', 'ftp://host']) {
    assert.throws(
      () => new InfluxStore({ url }),
      (error: unknown) => error instanceof FaultlineError && error.code === 'CONFIG_INVALID',
    )
  }
})
