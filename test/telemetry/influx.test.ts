import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { FaultlineError } from '@faultline/protocol'
import { InfluxDB } from 'influx'
import { StoreError } from '../../telemetry/store.ts'
import { InfluxStore } from '../../telemetry/stores/influx.ts'
import { type Influxd, startInfluxd } from '../support/influxd.ts'
import { missing } from '../support/programs.ts'
import { inferencePoint } from './messages.ts'
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
  async open() {
    const store = new InfluxStore({ url: influxd.url, database: freshDatabase() })
    await store.start()
    return store
  },
})

test('influx: a database dropped meanwhile is made again by the next write', { skip }, async () => {
  const database = freshDatabase()
  const store = new InfluxStore({ url: influxd.url, database })
  await store.start()
  await new InfluxDB(influxd.url).dropDatabase(database)
  await store.write([inferencePoint()])
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
})

test('influx: a store that is only read has to be there, and is not made', { skip }, async () => {
  const database = freshDatabase()
  const reader = new InfluxStore({ url: influxd.url, database, readOnly: true })
  const missing = (error: unknown) => error instanceof FaultlineError && error.code === 'STORE_NOT_FOUND'
  await assert.rejects(reader.start(), missing)
  assert.ok(!(await new InfluxDB(influxd.url).getDatabaseNames()).includes(database))
  const writer = new InfluxStore({ url: influxd.url, database })
  await writer.start()
  await assert.rejects(reader.start(), missing)
  await writer.write([inferencePoint()])
  await reader.start()
  assert.deepEqual(await reader.counts({ groupBy: [] }), [{ count: 1 }])
})

test('influx: points it refuses are not worth another attempt, the others of the batch are in', { skip }, async () => {
  const store = new InfluxStore({ url: influxd.url, database: freshDatabase() })
  await store.start()
  const point = inferencePoint()
  await store.write([point])
  const wrongType = { ...inferencePoint(), fields: { ...point.fields, latencyMs: 'twelve' } }
  await assert.rejects(
    store.write([inferencePoint(), wrongType]),
    (error: unknown) => error instanceof StoreError && error.code === 'STORE_FAILED' && !error.retryable,
  )
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 2 }])
})

test('influx: a server that is away gives STORE_FAILED and may be asked again at once', { skip }, async t => {
  const server = await startInfluxd(t)
  const store = new InfluxStore({ url: server.url })
  await store.start()
  await server.stop()
  const failed = (error: unknown) => error instanceof StoreError && error.code === 'STORE_FAILED' && error.retryable
  await assert.rejects(store.write([inferencePoint()]), failed)
  await assert.rejects(store.inferences(), failed)
  await assert.rejects(new InfluxStore({ url: server.url }).start(), failed)
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
  await assert.rejects(new InfluxStore({ url: server.url, username: 'recorder', password: 'p@ss:word' }).start())
  await admin.query('GRANT ALL ON "faultline" TO "recorder"', { method: 'POST', database: 'faultline' })

  const store = new InfluxStore({ url: server.url, username: 'recorder', password: 'p@ss:word' })
  await store.start()
  await store.write([inferencePoint()])
  const inUrl = new InfluxStore({ url: server.url.replace('//', '//recorder:p%40ss%3Aword@') })
  assert.deepEqual(await inUrl.counts({ groupBy: [] }), [{ count: 1 }])
  await assert.rejects(new InfluxStore({ url: server.url, username: 'recorder', password: 'wrong' }).start(), {
    code: 'STORE_FAILED',
  })
})

test('influx: an address that is none is refused', () => {
  for (const url of ['', 'localhost:8086', 'ftp://host']) {
    assert.throws(
      () => new InfluxStore({ url }),
      (error: unknown) => error instanceof FaultlineError && error.code === 'CONFIG_INVALID',
    )
  }
})
