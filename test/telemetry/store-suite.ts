import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { type Alarm, type Inference, missedAtMost, type UpdateStatus } from '@faultline/protocol'
import { auditPointOf, pointOf } from '../../telemetry/measurements.ts'
import type { TelemetryPoint } from '../../telemetry/point.ts'
import type { Retention } from '../../telemetry/retention.ts'
import {
  type CountTag,
  type HistoryQuery,
  historyPage,
  type InferenceRow,
  StoreError,
  type TelemetryStore,
} from '../../telemetry/store.ts'
import {
  inference,
  inferencePoint,
  iso,
  messageOf,
  model,
  noon,
  place,
  recordedKinds,
  samplePoint,
  samples,
} from './messages.ts'

export interface StoreSuiteOptions {
  /** The reason to skip, or false. */
  skip: false | string
  /** A started, empty store, which keeps everything unless told otherwise; cleaned up with the test. */
  open(t: TestContext, retention?: Retention): Promise<TelemetryStore>
}

const minute = 60_000
const at = (offset: number): string => iso(noon + offset)
const refusedQuery = (error: unknown): boolean => error instanceof StoreError && error.code === 'STORE_FAILED'

/** What every store promises, so that one can take another's place. */
export function testStore(name: string, { skip, open }: StoreSuiteOptions): void {
  const check = (behaviour: string, run: (store: TelemetryStore) => Promise<void>): void => {
    test(`${name}: ${behaviour}`, { skip }, async t => run(await open(t)))
  }

  check('an empty store answers every query with nothing', async store => {
    assert.deepEqual(await store.inferences(), [])
    assert.deepEqual(await store.counts({ groupBy: ['outcome'] }), [])
    assert.deepEqual(await store.counts({ groupBy: [] }), [])
    assert.deepEqual(
      await store.series({ measurement: 'health', field: 'spoolQueue', since: noon, every: minute * 60_000 }),
      [],
    )
  })

  check('an inference comes back with everything that was in it', async store => {
    const { id, server, numbers, features, shaftHz } = samples.inference
    await store.write([samplePoint('inference')])
    assert.deepEqual(await store.inferences(), [
      {
        time: noon,
        id,
        ...place,
        machine: 'press-3',
        label: 'ball',
        confidence: 0.9,
        decidedBy: 'server',
        outcome: 'answered',
        reason: 'confident',
        latencyMs: 12.5,
        local: {
          label: 'normal',
          confidence: 0.9,
          model: 'bearings-local@1.2.0',
          digest: 'sha256:0123456789abcdef',
          probabilities: { normal: 0.9, ball: 0.0999, 'inner-race': 0.0001 },
        },
        server: { label: server!.label, confidence: 0.97, model: 'bearings-server@1.2.0', agent: 'server-1' },
        escalationBytes: 4_512,
        shaftHz,
        features,
        numbers,
      },
    ])
  })

  check('an answer without confidence stays without, beside others that have features it lacks', async store => {
    await store.write([
      inferencePoint({ features: { rms: 1, peak: 4 }, at: at(1) }),
      inferencePoint({
        confidence: null,
        local: { ...inference().local, confidence: null },
        features: { rms: 2 },
        numbers: undefined,
        shaftHz: undefined,
      }),
    ])
    const [newer, older] = await store.inferences()
    assert.deepEqual(newer?.features, { rms: 1, peak: 4 })
    assert.deepEqual(older?.features, { rms: 2 })
    assert.deepEqual(older?.numbers, {})
    assert.equal(older?.confidence, null)
    assert.equal(older?.local.confidence, null)
    assert.equal(older?.shaftHz, undefined)
    assert.equal(older?.server, undefined)
  })

  check('an alarm comes back as each message told of it, newest first, of one machine and fault', async store => {
    const { action: _, suppression: _s, ...raised } = samples.alarm
    const { site, machine, fault, priority } = raised
    const tell = async (alarm: Alarm) => {
      const names = { machine: alarm.machine, fault: alarm.fault }
      await store.write([pointOf(messageOf('alarm', alarm, names), noon)!])
    }
    await tell({ ...raised, state: 'unacknowledged', since: at(0), at: at(0) })
    await tell({ ...samples.alarm, at: at(1_000) })
    await tell({ ...samples.alarm, fault: 'cage', at: at(2_000) })
    const common = { site, machine, fault, priority, windows: 5, notified: { count: 1, to: 'anna@example.com' } }
    assert.deepEqual(await store.alarms({ site, machine, fault }), [
      {
        time: noon + 1_000,
        ...common,
        state: 'shelved',
        since: noon - 1_000,
        suppression: { kind: 'shelved', active: true },
        action: { name: 'shelve', at: noon, by: 'anna', comment: 'bearing is ordered' },
      },
      { time: noon, ...common, state: 'unacknowledged', since: noon },
    ])
    assert.equal((await store.alarms({ machine })).length, 3)
    assert.equal((await store.alarms({ machine, limit: 1 }))[0]?.fault, 'cage')
    assert.deepEqual(await store.alarms({ machine, fault: "cage' OR 1=1 --" }), [])
    assert.equal((await store.alarms({ machine, since: noon + 1_000, until: noon + 2_000 })).length, 1)
  })

  check('an update comes back as its device told of it, newest first', async store => {
    const status = samples['update-status']
    const tell = async (fields: Partial<UpdateStatus>, device = 'press-3') =>
      store.write([pointOf(messageOf('update-status', { ...status, ...fields }, { device }), noon)!])
    const error = { code: 'UPDATE_PROBATION_FAILED', message: 'servers contradict' }
    await tell({ state: 'probation', at: at(0) })
    await tell({ state: 'rolled-back', at: at(1_000), error })
    await tell({ state: 'done', at: at(2_000) }, 'press-4')
    const { id, kind, digest } = status
    const common = { site: 'plant-a', device: 'press-3', id, kind, digest }
    assert.deepEqual(await store.updates({ device: 'press-3' }), [
      { time: noon + 1_000, ...common, state: 'rolled-back', errorCode: error.code },
      { time: noon, ...common, state: 'probation' },
    ])
    assert.equal((await store.updates({ limit: 1 }))[0]?.device, 'press-4')
    assert.equal((await store.updates({ since: noon + 1_000, until: noon + 2_000 })).length, 1)
  })

  check('every kind of record is taken, twice without harm', async store => {
    const points = recordedKinds.map(samplePoint)
    await store.write(points)
    await store.write(points)
    const query = { since: noon - minute, until: noon + minute, every: minute }
    const value = async (measurement: TelemetryPoint['measurement'], field: string) =>
      (await store.series({ ...query, measurement, field })).map(bucket => bucket.mean)
    assert.deepEqual(await value('summary', 'windows'), [60])
    assert.deepEqual(await value('health', 'temperatureC'), [51.5])
    assert.deepEqual(await value('health', 'overruns'), [3])
    assert.deepEqual(await value('health', 'droppedMessages'), [4])
    assert.deepEqual(await value('verdict', 'inferMs'), [1.5])
    assert.deepEqual(await value('state', 'boot'), [4])
    assert.deepEqual(await value('server_state', 'windowsPerSecond'), [12.5])
    assert.deepEqual(await value('config_reported', 'price'), [0.2])
    assert.deepEqual(await value('alarm', 'windows'), [5])
    assert.deepEqual(await value('update', 'probationWindows'), [358])
    assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
  })

  check('a message delivered twice counts once, in one batch and in two', async store => {
    const point = inferencePoint()
    await store.write([point, point])
    await store.write([point])
    assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
    assert.equal((await store.inferences()).length, 1)
  })

  check('two windows of one point that end in the same millisecond are two', async store => {
    await store.write([inferencePoint({ id: 'one' }), inferencePoint({ id: 'two' })])
    assert.deepEqual(await store.counts({ groupBy: ['outcome'] }), [{ outcome: 'accepted', count: 2 }])
    assert.deepEqual((await store.inferences()).map(row => row.id).sort(), ['one', 'two'])
  })

  for (const revisionId of ['original', 'another']) {
    check(
      `a revision under ${revisionId} id stands beside the inference it revises and is not counted`,
      async store => {
        const late: Partial<Inference> = { id: 'original', decidedBy: 'local-fallback', outcome: 'late' }
        // The same tags on purpose: nothing but `revises` tells the two apart.
        await store.write([inferencePoint(late), inferencePoint({ ...late, id: revisionId, revises: 'original' })])
        assert.deepEqual(await store.counts({ groupBy: ['outcome'] }), [{ outcome: 'late', count: 1 }])
        const rows = await store.inferences()
        assert.deepEqual(rows.map(row => row.revises ?? null).sort(), [null, 'original'].sort())
      },
    )
  }

  check('audits add up per machine and local model, each window once, within the time asked for', async store => {
    const audit = (id: string, verdict: string, changes: Partial<Inference> = {}) =>
      auditPointOf(
        messageOf('inference', {
          ...inference({ id, reason: 'audit', outcome: 'answered', ...changes }),
          server: { label: verdict, confidence: 0.9, model, agent: 'server-1' },
        }),
        'normal',
      )!
    const ball = { label: 'ball', confidence: 0.9, model }
    const points = [
      audit('a', 'normal'),
      audit('b', 'ball', { at: at(1) }),
      audit('c', 'ball', { local: ball, at: at(2) }),
      audit('d', 'normal', { local: ball, at: at(3) }),
      audit('late', 'normal', { revises: 'e', outcome: 'late', at: at(4) }),
      audit('f', 'normal', { machine: 'press-4' }),
      audit('g', 'normal', { local: { ...ball, label: 'normal', model: { ...model, digest: 'sha256:fedcba987654' } } }),
    ]
    await store.write(points)
    await store.write(points.toReversed())
    const row = { site: 'plant-a', machine: 'press-3', model: model.digest }
    const one = { audits: 1, silent: 1, missed: 0, wrong: 0, missedAtMost: missedAtMost({ missed: 0, silent: 1 }) }
    assert.deepEqual(await store.audits(), [
      { ...row, audits: 5, silent: 3, missed: 1, wrong: 2, missedAtMost: missedAtMost({ missed: 1, silent: 3 }) },
      { ...row, model: 'sha256:fedcba987654', ...one },
      { ...row, machine: 'press-4', ...one },
    ])
    assert.deepEqual(await store.audits({ machine: 'press-3', since: noon + 4, until: noon + 5 }), [{ ...row, ...one }])
    assert.deepEqual(await store.audits({ site: 'plant-b' }), [])
  })

  check('inferences come newest first, at most as many as asked for', async store => {
    const ids = Array.from({ length: 30 }, (_, i) => `window-${i}`)
    await store.write(ids.map((id, i) => inferencePoint({ id, at: at(i * 1_000), label: i % 2 ? 'ball' : 'normal' })))
    assert.deepEqual(
      (await store.inferences()).map(row => row.id),
      ids.toReversed(),
    )
    assert.deepEqual(
      (await store.inferences({ limit: 3 })).map(row => row.id),
      ['window-29', 'window-28', 'window-27'],
    )
  })

  check('a history comes oldest first, every window once, however many pages it has', async store => {
    const count = 2 * historyPage + 500
    // Ten devices have a window in the same millisecond, so the pages do not end between instants.
    const points = Array.from({ length: count }, (_, i) =>
      inferencePoint({ id: `window-${i}`, at: at(Math.floor(i / 10)) }, { device: `press-${i % 10}` }),
    )
    for (let i = 0; i < count; i += 3_500) await store.write(points.slice(i, i + 3_500))
    await store.write([inferencePoint({ id: 'revision', at: at(1), revises: 'window-10' }, { device: 'press-0' })])
    const read = async (query: Partial<HistoryQuery> = {}) => {
      const rows: InferenceRow[] = []
      for await (const page of store.history({ since: noon, until: noon + minute, ...query })) rows.push(...page)
      return rows
    }
    const rows = await read()
    assert.equal(rows.length, count + 1)
    assert.equal(new Set(rows.map(({ id }) => id)).size, count + 1)
    assert.ok(rows.every(({ time }, i) => i === 0 || time >= rows[i - 1]!.time))
    assert.equal(rows.filter(({ revises }) => revises === 'window-10').length, 1)
    assert.equal((await read({ device: 'press-3' })).length, count / 10)
    assert.equal((await read({ since: noon + 10, until: noon + 20 })).length, 100)
    assert.deepEqual(await read({ since: noon + minute, until: noon + 2 * minute }), [])
  })

  check('inferences and counts are narrowed by place and time; the end is not included', async store => {
    await store.write([
      inferencePoint({ id: 'a', at: at(0), machine: 'press-3' }),
      inferencePoint({ id: 'b', at: at(1), machine: 'press-4' }, { device: 'press-4' }),
      inferencePoint({ id: 'c', at: at(2), machine: 'press-4' }, { device: 'press-4', point: 'motor-nde' }),
      inferencePoint({ id: 'd', at: at(3), machine: 'fan-1' }, { site: 'plant-b', device: 'fan-1' }),
    ])
    const ids = async (query: Parameters<TelemetryStore['inferences']>[0]) =>
      (await store.inferences(query)).map(row => row.id).join('')
    assert.equal(await ids({ site: 'plant-b' }), 'd')
    assert.equal(await ids({ machine: 'press-4' }), 'cb')
    assert.equal(await ids({ device: 'press-4', point: 'motor-nde' }), 'c')
    assert.equal(await ids({ since: noon + 1 }), 'dcb')
    assert.equal(await ids({ since: noon + 1, until: noon + 3 }), 'cb')
    assert.equal(await ids({ machine: 'none' }), '')
    assert.deepEqual(await store.counts({ groupBy: ['machine'], site: 'plant-a', since: noon + 1 }), [
      { machine: 'press-4', count: 2 },
    ])
  })

  check('counts add up over every tag they can be grouped by', async store => {
    const outcomes = ['accepted', 'accepted', 'answered', 'late', 'rejected', 'offline'] as const
    await store.write(
      outcomes.flatMap((outcome, i) =>
        ['press-3', 'press-4'].map(machine => inferencePoint({ at: at(i), outcome, machine }, { device: machine })),
      ),
    )
    assert.deepEqual(await store.counts({ groupBy: ['machine', 'outcome'], machine: 'press-3' }), [
      { machine: 'press-3', outcome: 'accepted', count: 2 },
      { machine: 'press-3', outcome: 'answered', count: 1 },
      { machine: 'press-3', outcome: 'late', count: 1 },
      { machine: 'press-3', outcome: 'offline', count: 1 },
      { machine: 'press-3', outcome: 'rejected', count: 1 },
    ])
    for (const tag of ['site', 'device', 'point', 'machine', 'label', 'decidedBy', 'outcome'] as const) {
      const rows = await store.counts({ groupBy: [tag] })
      assert.equal(
        rows.reduce((sum, row) => sum + row.count, 0),
        12,
        tag,
      )
      assert.ok(
        rows.every(row => row[tag]),
        tag,
      )
    }
  })

  check('a series has one bucket per interval that holds anything, with mean, least and greatest', async store => {
    const values = [1, 2, 6, 10]
    const times = [0, 20_000, 59_999, 3 * minute]
    await store.write(values.map((rms, i) => inferencePoint({ at: at(times[i]!), features: { rms } })))
    await store.write([inferencePoint({ at: at(0), machine: 'fan-1', features: { rms: 100 } })])
    const query = { measurement: 'inference', field: 'feature_rms', machine: 'press-3', every: minute } as const
    assert.deepEqual(await store.series({ ...query, since: noon, until: noon + 10 * minute }), [
      { time: noon, mean: 3, min: 1, max: 6 },
      { time: noon + 3 * minute, mean: 10, min: 10, max: 10 },
    ])
    // Buckets are aligned to the clock, not to the query.
    assert.deepEqual(await store.series({ ...query, since: noon + 10_000, until: noon + 50_000 }), [
      { time: noon, mean: 2, min: 2, max: 2 },
    ])
    assert.deepEqual(await store.series({ ...query, field: 'feature_none', since: noon, until: noon + minute }), [])
  })

  check('roll-ups by minute and by hour say what the points say, however late these came', async store => {
    const hour = 60 * minute
    const values = (begin: number) =>
      Array.from({ length: 40 }, (_, i) => inferencePoint({ at: at(begin + i * 17_000), features: { rms: i % 7 } }))
    const query = {
      measurement: 'inference',
      field: 'feature_rms',
      since: noon,
      until: noon + 3 * hour,
      every: hour,
    } as const
    const agree = async () => {
      const [raw, ...rolledUp] = await Promise.all(
        (['raw', 'minutes', 'hours'] as const).map(tier => store.series({ ...query, tier })),
      )
      for (const series of rolledUp) assert.deepEqual(series, raw)
      return raw!.length
    }
    await store.write(values(0))
    await store.rollUp(noon, noon + hour)
    assert.equal(await agree(), 1)
    await store.write([...values(7), ...values(2 * hour)])
    await store.write([inferencePoint({ at: at(1), machine: 'fan-1', features: { rms: 100 } })])
    await store.rollUp(noon, noon + 3 * hour)
    assert.equal(await agree(), 2)
    assert.deepEqual((await store.series({ ...query, tier: 'hours', machine: 'fan-1' }))[0], {
      time: noon,
      mean: 100,
      min: 100,
      max: 100,
    })
    const byMinute = { ...query, every: minute, until: noon + hour }
    assert.deepEqual(
      await store.series({ ...byMinute, tier: 'minutes' }),
      await store.series({ ...byMinute, tier: 'raw' }),
    )
    await assert.rejects(store.series({ ...byMinute, tier: 'hours' }), refusedQuery)
  })

  check('health is rolled up by hour, and a text is not', async store => {
    await store.write([0, 1, 2].map(i => ({ ...samplePoint('health'), time: noon + i * minute })))
    await store.rollUp(noon, noon + minute)
    const query = {
      measurement: 'health',
      since: noon,
      until: noon + minute,
      every: 60 * minute,
      tier: 'hours',
    } as const
    assert.deepEqual(await store.series({ ...query, field: 'spoolQueue' }), [{ time: noon, mean: 2, min: 2, max: 2 }])
    assert.deepEqual(await store.series({ ...query, field: 'link' }), [])
  })

  check('hostile text in labels, ids and feature names forges nothing and stays harmless', async store => {
    const hostile = [
      "x' OR 1=1 --",
      'x\ninference,machine=forged latencyMs=1',
      'back\\slash\\',
      "\\' OR '' = '\\'",
      'com,ma =equals "quoted" 日本 🔧',
      '; DROP DATABASE faultline',
    ]
    await store.write(
      hostile.map((label, i) => inferencePoint({ label, id: label, at: at(i), features: { [`${label}=9,x`]: i } })),
    )
    const rows = await store.inferences()
    assert.deepEqual(
      rows.map(row => row.label).reverse(),
      hostile.map(text => text.replace(/[\n\\]/g, '_')),
    )
    assert.deepEqual(
      rows.map(row => row.id),
      rows.map(row => row.label),
    )
    assert.deepEqual(
      rows.map(row => Object.values(row.features)),
      [[5], [4], [3], [2], [1], [0]],
    )
    assert.deepEqual(await store.counts({ groupBy: ['machine'] }), [{ machine: 'press-3', count: hostile.length }])
    for (const machine of hostile) {
      assert.deepEqual(await store.inferences({ machine }), [])
      assert.deepEqual(await store.counts({ machine, groupBy: [] }), [])
    }
    assert.equal((await store.inferences()).length, hostile.length)
  })

  check('a query that makes no sense is refused with a code', async store => {
    const series = { measurement: 'health', field: 'boot', since: noon, until: noon + minute, every: 1_000 } as const
    await assert.rejects(store.inferences({ limit: 0 }), refusedQuery)
    await assert.rejects(store.inferences({ limit: 1e9 }), refusedQuery)
    await assert.rejects(store.inferences({ since: Number.NaN }), refusedQuery)
    await assert.rejects(store.counts({ groupBy: ['id" FROM x' as CountTag] }), refusedQuery)
    await assert.rejects(store.series({ ...series, field: 'boot") FROM x; --' }), refusedQuery)
    await assert.rejects(store.series({ ...series, every: 0.5 }), refusedQuery)
    await assert.rejects(store.series({ ...series, since: 0, every: 1 }), refusedQuery)
  })

  check('a thousand points in one batch are all there', async store => {
    await store.write(Array.from({ length: 1_000 }, (_, i) => inferencePoint({ at: at(i) })))
    await store.write([])
    assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1_000 }])
    assert.equal((await store.inferences({ limit: 10_000 })).length, 1_000)
  })

  check('times far off, as a device without a clock sends them, are kept', async store => {
    const epoch = inferencePoint({ id: 'epoch', at: iso(0) })
    const future = inferencePoint({ id: 'future', at: '2099-12-31T23:59:59.999Z' })
    await store.write([epoch, future])
    assert.deepEqual(
      (await store.inferences()).map(row => [row.id, row.time]),
      [
        ['future', Date.UTC(2099, 11, 31, 23, 59, 59, 999)],
        ['epoch', 0],
      ],
    )
  })

  test(`${name}: points older than they are kept are refused with the reason, the others are in`, { skip }, async t => {
    const store = await open(t, { rawDays: 7, minuteDays: 7, hourDays: 7 })
    const day = 86_400_000
    const old = inferencePoint({ at: iso(Date.now() - 8 * day) })
    const refused = await store.write([old, inferencePoint({ at: iso(Date.now() - 6 * day) })])
    assert.deepEqual(
      refused.map(({ point }) => point),
      [old],
    )
    assert.match(refused[0]!.reason, /older than 7 days/)
    assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
  })

  check('what was written outlives a stop and a start', async store => {
    await store.write([inferencePoint()])
    await store.stop()
    await store.start()
    assert.deepEqual(await store.counts({ groupBy: [] }), [{ count: 1 }])
  })
}
