import assert from 'node:assert/strict'
import { test } from 'node:test'
import { StoreError } from '../../telemetry/store.ts'
import { InfluxStore } from '../../telemetry/stores/influx.ts'
import { startInfluxTwo } from './influx-two.ts'
import { inferencePoint, iso, noon, recordedKinds, samplePoint } from './messages.ts'

const token = 'a-token=='
const database = 'faultline'
const again = (error: unknown) => error instanceof StoreError && error.retryable

for (const version of [2, 3] as const) {
  test(`influx ${version}: points go through the 1.x endpoint with a token, and nothing is set up`, async t => {
    const two = await startInfluxTwo(t, { token, database })
    const store = new InfluxStore({ url: two.url, version, token, database })
    await store.start()
    const points = [
      ...recordedKinds.map(samplePoint),
      inferencePoint({ label: 'outer race, 7 mils = "deep"', id: 'a "quoted" id' }),
      ...Array.from({ length: 100 }, (_, i) => inferencePoint({ at: iso(noon + i) })),
    ]
    // Older than the default retention: how long they are kept is for the server to say.
    assert.deepEqual(await store.write(points), [])
    assert.equal(two.lines.length, points.length)
    assert.deepEqual(two.queries, [])
    await store.rollUp(noon, noon + 1)
    await store.stop()
    assert.deepEqual(two.queries, [])
  })

  test(`influx ${version}: queries carry the token and their values within the statement`, async t => {
    const two = await startInfluxTwo(t, { token, database })
    const store = new InfluxStore({ url: two.url, version, token, database })
    assert.deepEqual(await store.inferences({ machine: "it's a \\ press" }), [])
    assert.match(two.queries[0]!, /"machine" = 'it\\'s a \\\\ press'/)
    assert.deepEqual(
      await store.series({
        measurement: 'inference',
        field: 'latencyMs',
        since: noon,
        until: noon + 1,
        every: 3_600_000,
      }),
      [],
    )
    // There are no roll-ups there.
    assert.match(two.queries[1]!, /SELECT mean\("latencyMs"\).* FROM "inference"/s)
  })
}

test('influx 2: a point it refuses is named, the others of the batch are in', async t => {
  const two = await startInfluxTwo(t, { token, database })
  const store = new InfluxStore({ url: two.url, version: 2, token, database })
  two.refuses = 'window-7"'
  const points = Array.from({ length: 20 }, (_, i) => inferencePoint({ id: `window-${i}`, at: iso(noon + i) }))
  const refused = await store.write(points)
  assert.deepEqual(
    refused.map(({ point }) => point),
    [points[7]],
  )
  assert.match(refused[0]!.reason, /422.*field type conflict/s)
  assert.equal(new Set(two.lines).size, 19)
})

test('influx 2: a wrong token and a database without a bucket may be put right: the points wait', async t => {
  const two = await startInfluxTwo(t, { token, database })
  const points = [inferencePoint()]
  const wrong = new InfluxStore({ url: two.url, version: 2, token: 'wrong', database })
  await assert.rejects(wrong.write(points), again)
  await assert.rejects(new InfluxStore({ url: two.url, version: 2, token, database: 'other' }).write(points), again)
  await assert.rejects(
    new InfluxStore({ url: two.url, version: 2, username: 'a', password: 'b', database }).write(points),
    again,
  )
  assert.deepEqual(two.lines, [])
})
