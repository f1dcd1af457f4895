import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { createSource, type Source, type SourceWindow, sourceConfig } from '@faultline/device-agent'
import { silentLogger } from '@faultline/runtime'
import { connectAsync } from 'mqtt'
import { MqttSource } from '../../device-agent/sources/mqtt/mqtt-source.ts'
import { ShaftSource, shaftHzIn } from '../../device-agent/sources/mqtt/shaft-source.ts'
import { TestBroker } from '../runtime/test-broker.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { findProgram, missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { testSource } from './source-suite.ts'

const topic = 'workshop/press-3/vibration'
const windowSamples = 64
const rateHz = 1_000

async function startBroker(t: TestContext): Promise<TestBroker> {
  const broker = new TestBroker()
  await broker.start()
  t.after(() => broker.stop())
  return broker
}

const sourceAt = (url: string, more: Record<string, unknown> = {}) =>
  createSource(sourceConfig.parse({ kind: 'mqtt', url, topic, ...more }), { samples: windowSamples, rateHz })

/** A window of its own for every number, as a microcontroller would publish it. */
const valuesOf = (n: number) => Array.from({ length: windowSamples }, (_, i) => ((n * windowSamples + i) % 30_000) - 99)
const json = (n: number, more?: object) => JSON.stringify(more ? { values: valuesOf(n), ...more } : valuesOf(n))
const binary = (n: number, number?: number) => {
  const head = Buffer.alloc(number === undefined ? 0 : 4)
  if (number !== undefined) head.writeUInt32LE(number)
  return Buffer.concat([head, Buffer.from(Int16Array.from(valuesOf(n)).buffer)])
}

for (const format of ['json', 's16le']) {
  testSource({
    name: `mqtt, ${format}`,
    live: true,
    create: async (intervalMs, t) => {
      const broker = await startBroker(t)
      let n = 0
      const next = () => broker.publish(topic, format === 'json' ? json(n++) : binary(n++))
      broker.onSubscribed = () => {
        next()
        const timer = setInterval(next, intervalMs)
        t.after(() => clearInterval(timer))
      }
      return sourceAt(broker.url, { format, intervalMs })
    },
  })
}

/** What a source makes of messages that are published once it listens. */
async function given(source: Source, broker: TestBroker, messages: readonly (string | Buffer)[], count: number) {
  const stopping = new AbortController()
  const windows: SourceWindow[] = []
  const left = [...messages]
  const next = () => {
    const message = left.shift()
    if (message !== undefined) broker.publish(topic, message)
  }
  broker.onSubscribed = next
  for await (const window of source.windows(stopping.signal)) {
    if (windows.push(window) === count) stopping.abort()
    else next()
  }
  return windows
}

test('a window comes in physical units, with the shaft speed that its message names', async t => {
  const broker = await startBroker(t)
  const [window] = await given(
    await sourceAt(broker.url, { scale: 2 }),
    broker,
    [json(0, { rateHz, shaftHz: 24.8 })],
    1,
  )
  assert.deepEqual(
    [...window!.window.samples],
    valuesOf(0).map(value => 2 * value),
  )
  assert.equal(window!.window.shaftHz, 24.8)
  const fixed = await sourceAt(broker.url, { format: 's16le', scale: 2 ** 15, shaftHz: 10 })
  const [raw] = await given(fixed, broker, [binary(3)], 1)
  assert.deepEqual([...raw!.window.samples], valuesOf(3))
  assert.equal(raw!.window.shaftHz, 10)
})

for (const [format, numbered] of [
  ['json', (n: number) => json(n, { number: n })],
  ['s16le', (n: number) => binary(n, n)],
] as const) {
  test(`a window that comes twice is passed over, and one before which others are missing has a gap (${format})`, async t => {
    const broker = await startBroker(t)
    const source = await sourceAt(broker.url, { format, numbered: format !== 'json' })
    const stopping = new AbortController()
    broker.onSubscribed = () => broker.publish(topic, numbered(7))
    const after = new Map([
      [1, [7, 8]],
      [2, [11]],
      [3, [0]],
    ])
    const windows: SourceWindow[] = []
    for await (const window of source.windows(stopping.signal)) {
      windows.push(window)
      for (const n of after.get(windows.length) ?? []) broker.publish(topic, numbered(n))
      if (windows.length === 4) stopping.abort()
    }
    // The last one begins anew: a microcontroller that was switched off and on.
    assert.deepEqual(
      windows.map(({ window, gap }) => [window.samples[0]! * (format === 'json' ? 1 : 2 ** 15), gap]),
      [7, 8, 11, 0].map(n => [valuesOf(n)[0], n === 11 ? true : undefined]),
    )
    assert.equal(source.overruns, 0)
  })
}

test('without numbers, a message that is the one before to the last bit is passed over', async t => {
  const broker = await startBroker(t)
  const stopping = new AbortController()
  const firsts: number[] = []
  broker.onSubscribed = () => broker.publish(topic, json(1))
  for await (const { window } of (await sourceAt(broker.url)).windows(stopping.signal)) {
    if (firsts.push(window.samples[0]!) === 2) stopping.abort()
    else for (const n of [1, 1, 2]) broker.publish(topic, json(n))
  }
  assert.deepEqual(firsts, [valuesOf(1)[0], valuesOf(2)[0]])
})

test('a retained window is passed over: nobody knows when it was taken', async t => {
  const broker = await startBroker(t)
  broker.publish(topic, json(1), true)
  const [first] = await given(await sourceAt(broker.url), broker, [json(2)], 1)
  assert.equal(first!.window.samples[0], valuesOf(2)[0])
})

test('windows come over Mosquitto, from a client with a name and a password', {
  skip: missing('mosquitto', 'mosquitto_passwd'),
}, async t => {
  const passwords = join(await temporaryDirectory(t), 'passwords')
  await promisify(execFile)(findProgram('mosquitto_passwd')!, ['-b', '-c', passwords, 'esp32', 'secret'])
  // As root it would give up its rights, and with them the password file; of lines that say the same the last counts.
  const { url } = await startMosquitto(t, ['user root', 'allow_anonymous false', `password_file ${passwords}`])
  const account = { username: 'esp32', password: 'secret' }
  await assert.rejects(given(await sourceAt(url), new TestBroker(), [], 1), {
    code: 'SENSOR_FAILED',
    message: /refused|authori/i,
  })
  const esp32 = await connectAsync(url, { ...account, protocolVersion: 4 })
  t.after(() => esp32.endAsync(true))
  const stopping = new AbortController()
  let n = 0
  const timer = setInterval(() => esp32.publish(topic, binary(n, n++)), 20)
  t.after(() => clearInterval(timer))
  for await (const { window } of (await sourceAt(url, { ...account, format: 's16le', numbered: true })).windows(
    stopping.signal,
  )) {
    assert.equal(window.samples[1]! - window.samples[0]!, 2 ** -15)
    stopping.abort()
  }
  assert.ok(n > 0)
})

const foreign: [what: string, message: string | Buffer, options: Record<string, unknown>, says: RegExp][] = [
  ['a part without a number', JSON.stringify([1, 2, 3]), {}, /3 samples in a message, a window takes 64/],
  ['a piece of a sample', Buffer.alloc(101), { format: 's16le' }, /101 bytes in a message are no samples as s16le/],
  ['another rate that is too low', json(1, { rateHz: 500 }), {}, /sampled at 500 Hz.*takes 1000 Hz/],
  ['no list', '{"status":"alive","heap":120000}', {}, /neither a list of numbers nor has one as "values"/],
  ['no JSON', 'hello', {}, /no JSON list and no JSON object/],
  ['a bare number', '12', {}, /no JSON list and no JSON object/],
]

for (const [what, message, options, says] of foreign) {
  test(`a message with ${what} is passed over and counted, and windows go on`, async t => {
    const broker = await startBroker(t)
    const source = await sourceAt(broker.url, options)
    const good = (n: number) => (options.format === 's16le' ? binary(n) : json(n))
    const stopping = new AbortController()
    const windows: SourceWindow[] = []
    broker.onSubscribed = () => {
      for (const one of [good(1), message, good(2)]) broker.publish(topic, one)
    }
    for await (const window of source.windows(stopping.signal)) {
      windows.push(window)
      if (source.foreign === 1 && source.overruns + windows.length === 2) stopping.abort()
    }
    assert.ok(windows.every(({ gap }) => gap === undefined))
  })

  test(`where nothing but messages with ${what} comes for a while, the sensor has failed`, async t => {
    const broker = await startBroker(t)
    const source = new MqttSource({
      url: broker.url,
      topic,
      format: 'json',
      numbered: false,
      scale: 1,
      windowSamples,
      rateHz,
      intervalMs: 1,
      maxForeignMs: 0,
      ...options,
    })
    await assert.rejects(given(source, broker, [message], 1), { code: 'SENSOR_FAILED', message: says })
  })
}

for (const [format, part] of [
  ['json', (n: number, values: number[]) => JSON.stringify({ number: n, values: values.map(String), rateHz: '2000' })],
  [
    's16le',
    (n: number, values: number[]) => {
      const number = Buffer.alloc(4)
      number.writeUInt32LE(n)
      return Buffer.concat([number, Buffer.from(Int16Array.from(values).buffer)])
    },
  ],
] as const) {
  test(`numbered messages shorter than a window are joined, resampled, and a missing one is a gap (${format})`, async t => {
    const broker = await startBroker(t)
    const scale = format === 'json' ? 1 : 2 ** 15
    const config = { format, numbered: format !== 'json', intervalMs: 64, rateHz: 2_000, scale }
    const source = await sourceAt(broker.url, config)
    // A sine of 50 Hz in messages of 16 samples: eight of them are a window.
    const valueAt = (i: number) => Math.round(10_000 * Math.sin((2 * Math.PI * 50 * i) / 2_000))
    const message = (n: number) =>
      part(
        n,
        Array.from({ length: 16 }, (_, i) => valueAt(16 * n + i)),
      )
    const stopping = new AbortController()
    const windows: SourceWindow[] = []
    let next = 0
    const send = (count: number) => {
      for (let i = 0; i < count; i++) broker.publish(topic, message(next++))
    }
    broker.onSubscribed = () => send(10)
    for await (const window of source.windows(stopping.signal)) {
      if (windows.push(window) === 1) {
        next++
        send(12)
      } else stopping.abort()
    }
    const [whole, torn] = windows
    assert.deepEqual([whole!.gap, torn!.gap], [undefined, true])
    for (const [i, value] of whole!.window.samples.entries())
      if (i > 12) assert.ok(Math.abs(value - valueAt(2 * i)) < 100, `${i}: ${value}`)
  })
}

test('a message at a higher rate is a window at the rate of the model', async t => {
  const broker = await startBroker(t)
  const values = Array.from({ length: 300 }, (_, i) => Math.sin((2 * Math.PI * 50 * i) / 4_000))
  const [window] = await given(await sourceAt(broker.url), broker, [JSON.stringify({ values, rateHz: 4_000 })], 1)
  assert.equal(window!.window.samples.length, windowSamples)
  for (const [i, value] of window!.window.samples.entries())
    if (i > 12 && i < 52) assert.ok(Math.abs(value - values[4 * i]!) < 0.01)
})

test('a value that is no number is one for the sensor check to see', async t => {
  const broker = await startBroker(t)
  const values = [null, 'x', '-0.5', ...valuesOf(0).slice(3)]
  const [window] = await given(await sourceAt(broker.url), broker, [JSON.stringify(values)], 1)
  assert.deepEqual([...window!.window.samples.slice(0, 3)], [Number.NaN, Number.NaN, -0.5])
})

test('without a broker, and when the connection breaks, the sensor has failed', async t => {
  const nobody = createServer()
  await once(nobody.listen(0, '127.0.0.1'), 'listening')
  const { port } = nobody.address() as { port: number }
  nobody.close()
  const nowhere = await sourceAt(`mqtt://127.0.0.1:${port}`)
  const taken = async (source: Source) => {
    for await (const _ of source.windows(new AbortController().signal)) assert.fail('a window')
  }
  await assert.rejects(taken(nowhere), { code: 'SENSOR_FAILED', message: /ECONNREFUSED/ })
  const broker = await startBroker(t)
  broker.onSubscribed = () => broker.breakConnections()
  const broken = { code: 'SENSOR_FAILED', message: `${broker.url}, ${topic}: the connection is lost` }
  await assert.rejects(taken(await sourceAt(broker.url)), broken)
  broker.refuseCredentials = true
  await assert.rejects(taken(await sourceAt(broker.url)), { code: 'SENSOR_FAILED', message: /refused/i })
})

test('a subscription that is refused is a sensor that failed', async t => {
  const broker = await startBroker(t)
  broker.refusedFilters = [topic]
  await assert.rejects(given(await sourceAt(broker.url), broker, [], 1), {
    code: 'SENSOR_FAILED',
    message: /does not let it subscribe/,
  })
})

test('a topic with wildcards is refused', () => {
  const config = { kind: 'mqtt', url: 'mqtt://127.0.0.1' }
  assert.ok(sourceConfig.safeParse({ ...config, topic: 'a/b' }).success)
  for (const wild of ['a/#', 'a/+/b']) assert.ok(!sourceConfig.safeParse({ ...config, topic: wild }).success)
})

const shaftTopic = 'workshop/press-3/speed'

/** Windows that somebody gives, behind a source that hears the shaft speed from a broker. */
function shaftSource(broker: TestBroker, maximumAgeS = 60) {
  const give: ((shaftHz?: number) => void)[] = []
  const inner: Source = {
    rateHz,
    windowSamples,
    intervalMs: 1,
    overruns: 0,
    async *windows(signal) {
      while (!signal.aborted) {
        const shaftHz = await new Promise<number | undefined>(resolve => give.push(resolve))
        const window = { samples: new Float32Array(windowSamples), shape: [windowSamples], rateHz }
        yield { window: { ...window, ...(shaftHz !== undefined && { shaftHz }) }, at: new Date() }
      }
    },
  }
  const options = { url: broker.url, topic: shaftTopic, unit: 'rpm', maximumAgeS } as const
  return { source: new ShaftSource(inner, options, silentLogger), give }
}

test('windows have the shaft speed that was published last, or what their source says', async t => {
  const broker = await startBroker(t)
  broker.publish(shaftTopic, '1488', true)
  const { source, give } = shaftSource(broker)
  const speeds: (number | undefined)[] = []
  const subscribed = new Promise<void>(resolve => {
    broker.onSubscribed = resolve
  })
  const stopping = new AbortController()
  const done = (async () => {
    for await (const { window } of source.windows(stopping.signal)) speeds.push(window.shaftHz)
  })()
  const until = async (speed: number | undefined, own?: number) => {
    const deadline = performance.now() + 30_000
    do {
      assert.ok(performance.now() < deadline, `the speed is ${speeds.at(-1)}, not ${speed}`)
      give.shift()?.(own)
      await new Promise(resolve => setImmediate(resolve))
    } while (speeds.length === 0 || speeds.at(-1) !== speed)
  }
  await until(7, 7)
  await subscribed
  await until(24.8)
  broker.publish(shaftTopic, '{"hz": 30}')
  await until(30)
  broker.publish(shaftTopic, '0')
  await until(undefined)
  stopping.abort()
  give.shift()?.()
  await done
})

test('a shaft speed is a number in its unit, or names it', () => {
  const read = (text: string) => shaftHzIn(Buffer.from(text), 'rpm')
  assert.deepEqual(['1500', '{"hz": 25}', '{"rpm": 1500}', ' 1500.0 '].map(read), [25, 25, 25, 25])
  assert.equal(shaftHzIn(Buffer.from('25'), 'hz'), 25)
  for (const text of ['', 'fast', '{}', '[1]', 'null', '{"hz": "25"}']) assert.equal(read(text), undefined, text)
})
