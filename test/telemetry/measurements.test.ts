import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type DeviceState, FaultlineError, type Inference, topicKinds } from '@faultline/protocol'
import fc from 'fast-check'
import { catalogue, numbersOf } from '../../telemetry/catalogue.ts'
import { auditPointOf, pointOf } from '../../telemetry/measurements.ts'
import { type Measurement, measurements, tagNames } from '../../telemetry/point.ts'
import { priceList } from '../support/price-lists.ts'
import {
  inference,
  inferencePoint,
  iso,
  messageOf,
  model,
  noon,
  recordedKinds,
  samplePoint,
  samples,
} from './messages.ts'

test('an inference becomes a point with few-valued tags, and ids and numbers as fields', () => {
  const { id } = samples.inference
  assert.deepEqual(
    { ...samplePoint('inference'), offset: 0 },
    {
      measurement: 'inference',
      tags: {
        decidedBy: 'server',
        device: 'press-3',
        label: 'ball',
        machine: 'press-3',
        outcome: 'answered',
        point: 'motor-de',
        revision: 'no',
        site: 'plant-a',
      },
      fields: {
        id,
        confidence: 0.9,
        reason: 'confident',
        latencyMs: 12.5,
        escalationBytes: 4_512,
        shaftHz: 29.5,
        localLabel: 'normal',
        localConfidence: 0.9,
        probability_normal: 0.9,
        probability_ball: 0.0999,
        'probability_inner-race': 0.0001,
        localModel: 'bearings-local@1.2.0',
        localDigest: 'sha256:0123456789abcdef',
        serverLabel: 'ball',
        serverConfidence: 0.97,
        serverModel: 'bearings-server@1.2.0',
        serverDigest: 'sha256:0123456789abcdef',
        serverAgent: 'server-1',
        number_score: 0.9,
        number_threshold: 0.8,
        feature_rms: 0.25,
        feature_kurtosis: 3.1,
      },
      time: noon,
      offset: 0,
    },
  )
})

test('every kind but escalations, what is asked of devices and what they learn is recorded, each under its own measurement', () => {
  const elsewhere = topicKinds.filter(kind => /^(upstream-|update-(?!status)|rollout)/.test(kind))
  const notRecorded = ['escalation', ...elsewhere, 'command', 'config-desired', 'evidence', 'pool']
  assert.deepEqual([...recordedKinds, ...notRecorded].sort(), [...topicKinds].sort())
  const ownMeasurement = measurements.filter(name => name !== 'audit')
  assert.deepEqual(recordedKinds.map(kind => samplePoint(kind).measurement).sort(), [...ownMeasurement].sort())
  assert.equal(pointOf(messageOf('command', { id: 'c', name: 'capture', args: {} }), noon), undefined)
  assert.equal(pointOf(messageOf('config-desired', { revision: 1, config: {} }), noon), undefined)
})

test('no field has the name of a tag, and no tag holds an id', () => {
  for (const kind of recordedKinds) {
    const { tags, fields } = samplePoint(kind)
    assert.deepEqual(
      Object.keys(fields).filter(name => (tagNames as readonly string[]).includes(name)),
      [],
      kind,
    )
    assert.equal(Object.values(tags).includes('window-1'), false, kind)
    assert.ok(Object.keys(fields).length > 0, kind)
  }
})

test('messages that carry a time are dated by it, the others by their reception', () => {
  const later = noon + 12_345
  for (const kind of recordedKinds) {
    const { time } = pointOf(messageOf(kind, samples[kind]), later)!
    assert.equal(time, kind === 'verdict' ? later : noon, kind)
  }
  const will: DeviceState = { online: false, boot: 4 }
  assert.equal(pointOf(messageOf('state', will), later)!.time, later)
  assert.equal(pointOf(messageOf('state', { ...will, at: iso(noon) }), later)!.time, noon)
})

test('going offline is another series than being online, so that neither overwrites the other', () => {
  const offline = pointOf(messageOf('state', { online: false, boot: 4, at: iso(noon) }), noon)!
  assert.deepEqual(offline.tags, { site: 'plant-a', device: 'press-3', online: 'no' })
  assert.equal(samplePoint('state').tags.online, 'yes')
})

test('a rejection is a verdict with its reason as the result', () => {
  const { tags, fields } = pointOf(messageOf('verdict', { id: 'w', rejected: 'overloaded', retryAfterMs: 500 }), noon)!
  assert.deepEqual(tags, { site: 'plant-a', device: 'press-3', point: 'motor-de', result: 'overloaded' })
  assert.deepEqual(fields, { id: 'w', retryAfterMs: 500 })
})

test('a second delivery gives the same point; another window or a revision of the same millisecond does not', () => {
  const payload = inference()
  const offset = (changes = {}) => inferencePoint({ ...payload, ...changes }).offset
  assert.equal(offset(), offset())
  assert.notEqual(offset(), offset({ id: 'another' }))
  assert.notEqual(offset(), offset({ revises: payload.id }))
  assert.notEqual(offset({ id: 'a', revises: 'b' }), offset({ id: 'b', revises: 'a' }))
})

test('a time no store can keep is refused', () => {
  for (const at of ['1969-12-31T23:59:59.999Z', '2200-01-01T00:00:00.000Z']) {
    assert.throws(
      () => inferencePoint({ at }),
      (error: unknown) => error instanceof FaultlineError && error.code === 'MESSAGE_INVALID',
    )
  }
})

const server = { label: 'ball', confidence: 0.97, model: { ...model, name: 'bearings-server' }, agent: 'server-1' }
const audit = (changes: Partial<Inference> = {}, normal = 'normal') =>
  auditPointOf(messageOf('inference', inference({ reason: 'audit', outcome: 'answered', server, ...changes })), normal)

test('an answered audit has a record of what was found, one that nobody answered has none', () => {
  assert.deepEqual(
    { ...audit({ id: 'w' }), offset: 0 },
    {
      measurement: 'audit',
      tags: {
        site: 'plant-a',
        device: 'press-3',
        point: 'motor-de',
        machine: 'press-3',
        audited: model.digest,
        finding: 'missed-fault',
      },
      fields: { id: 'w', localLabel: 'normal', serverLabel: 'ball', serverDigest: model.digest },
      time: noon,
      offset: 0,
    },
  )
  assert.equal(audit({ server: { ...server, label: 'normal' } })?.tags.finding, 'normal-confirmed')
  assert.equal(audit({}, 'sound')?.tags.finding, 'misnamed')
  assert.equal(audit({ outcome: 'late', server: undefined }), undefined)
  assert.equal(audit({ reason: 'below-threshold' }), undefined)
  assert.equal(auditPointOf(messageOf('summary', samples.summary), 'normal'), undefined)
})

test('a verdict that came late is the same audit as one in time', () => {
  assert.deepEqual(audit({ id: 'w' }), audit({ id: 'later', revises: 'w', outcome: 'late' }))
})

/** Messages with what the samples lack: revisions, rejections, refusals, price lists and budgets. */
const rare = [
  inferencePoint({ id: 'later', revises: 'window-1', outcome: 'late' }),
  pointOf(messageOf('verdict', { id: 'w', agent: 'server-1', rejected: 'overloaded', retryAfterMs: 500 }), noon)!,
  pointOf(
    messageOf('command-result', {
      id: 'c',
      name: 'capture',
      at: iso(noon),
      ok: false,
      error: { code: 'COMMAND_UNKNOWN', message: 'no' },
    }),
    noon,
  )!,
  ...(['downloading', 'rolled-back'] as const).map(
    state =>
      pointOf(
        messageOf('update-status', {
          ...samples['update-status'],
          state,
          ...(state === 'downloading'
            ? { received: 1_000, bytes: 21_408 }
            : { error: { code: 'UPDATE_PROBATION_FAILED', message: 'no' } }),
        }),
        noon,
      )!,
  ),
  pointOf(
    messageOf('config-reported', {
      revision: 8,
      at: iso(noon),
      status: 'refused',
      error: { code: 'CONFIG_INVALID', message: 'no' },
      config: {
        policy: { name: 'threshold', parameters: {} },
        price: 0.2,
        auditRate: { missedFaultsAtMost: 0.01, withinDays: 30 },
        episodes: { agreeing: 3, holdS: 600 },
        deadlineMs: 2_000,
        summaryIntervalS: 60,
        healthIntervalS: 30,
        prices: { ...priceList, link: 'lte' },
        budget: { bytesPerDay: 1e6, escalationBytesPerDay: 5e5, explorationBytesPerDay: 1e5 },
      },
    }),
    noon,
  )!,
]

test('whatever text and names a device sends, a point stays writable', () => {
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 64 }),
      fc.dictionary(
        // The codec refuses a payload with this key before it gets here.
        fc.string({ unit: 'binary', maxLength: 80 }).filter(name => name !== '__proto__'),
        fc.double({ noNaN: true, noDefaultInfinity: true }),
      ),
      (text, features) => {
        const point = inferencePoint({ id: text, label: text, features })
        for (const value of [...Object.values(point.tags), point.fields.id]) {
          assert.match(String(value), /^[^\p{Cc}\p{Cs}\\]+$/u)
        }
        for (const name of Object.keys(point.fields)) assert.match(name, /^[A-Za-z][A-Za-z0-9_.-]{0,79}$/)
      },
    ),
    { numRuns: 200 },
  )
})

test('a device cannot fill the store with field names', () => {
  const features = Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`f${i}`, i]))
  const names = Object.keys(inferencePoint({ features }).fields).filter(name => name.startsWith('feature_'))
  assert.equal(names.length, 128)
})

const entryOf = (measurement: Measurement, name: string) =>
  catalogue[measurement].fields.find(field => new RegExp(`^${field.name.replace('*', '.+')}$`).test(name))

test('the catalogue has every measurement with each of its tags and fields, and their types', () => {
  for (const { measurement, tags, fields } of [...recordedKinds.map(samplePoint), audit()!, ...rare]) {
    for (const name of Object.keys(tags)) assert.ok(Object.hasOwn(catalogue[measurement].tags, name), name)
    for (const [name, value] of Object.entries(fields)) {
      const type = typeof value === 'string' ? 'text' : typeof value
      assert.equal(entryOf(measurement, name)?.type, type, `${measurement}: ${name}`)
    }
  }
})

test('what the catalogue has is recorded of some message, and no field has the name of a tag', () => {
  const points = [...recordedKinds.map(samplePoint), audit()!, ...rare]
  for (const measurement of measurements) {
    const own = points.filter(found => found.measurement === measurement)
    const names = own.flatMap(({ fields }) => Object.keys(fields))
    for (const { name } of catalogue[measurement].fields) {
      const pattern = new RegExp(`^${name.replace('*', '.+')}$`)
      assert.ok(
        names.some(found => pattern.test(found)),
        `${measurement}: nothing has ${name}`,
      )
      assert.ok(!(tagNames as readonly string[]).includes(name), `${measurement}: ${name} is a tag too`)
    }
    for (const tag of Object.keys(catalogue[measurement].tags)) {
      assert.ok(
        own.some(({ tags }) => Object.hasOwn(tags, tag)),
        `${measurement}: nothing has the tag ${tag}`,
      )
    }
  }
})

test('numbers are named alike for JavaScript and InfluxQL, and hold no text', () => {
  const numbers = new RegExp(numbersOf('inference')!)
  const { fields } = samplePoint('inference')
  const matched = Object.keys(fields).filter(name => numbers.test(name))
  assert.deepEqual(
    matched,
    Object.keys(fields).filter(name => typeof fields[name] === 'number'),
  )
  assert.equal(numbersOf('audit'), undefined)
})
