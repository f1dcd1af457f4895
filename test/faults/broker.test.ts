import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as pause } from 'node:timers/promises'
import { Registry } from '@faultline/provisioning'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { anna, collect, connected, credentials, escalationOf, escalations, press } from '../broker/harness.ts'
import { missing } from '../support/programs.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { FaultyProgram } from './faulty-program.ts'
import { seeds } from './seeds.ts'

const inference = `faultline/v1/${press.name}/points/de/inference`
const total = 400

async function outlive(t: TestContext, seed: number, store: (directory: string) => object, redis: boolean) {
  const directory = await temporaryDirectory(t)
  const registryFile = join(directory, 'registry.db')
  const registry = new Registry(registryFile)
  await registry.start()
  t.after(() => registry.stop())
  const secrets = new Map<string, string>()
  for (const identity of [press, anna]) secrets.set(identity.name, (await registry.enroll(identity)).secret)
  const config = join(directory, 'broker.yaml')
  const limits = { messagesPerSecond: 1_000_000 }
  await writeFile(
    config,
    JSON.stringify({ port: 0, registry: registryFile, limits, operations: { port: 0 }, ...store(directory) }),
  )
  const args = ['broker/main.ts', '--config', config]
  const broker = new FaultyProgram(t, args, { seed, rate: 0.03, directory, redis })
  const [, port] = await broker.program.said(/"port":(\d+)[^\n]*"broker listens"/, 60_000)
  const open = (identity: typeof press, options: IClientOptions = {}): MqttClient => {
    const url = `mqtt://127.0.0.1:${port}`
    const client = mqtt.connect(url, {
      ...credentials(identity, secrets),
      clean: false,
      reconnectPeriod: 50,
      reconnectOnConnackError: true,
      ...options,
    })
    t.after(() => client.end(true))
    client.on('error', () => {}) // It reconnects.
    return client
  }
  const sleeper = open(anna, { clientId: `${anna.name}/sleeper`, reconnectPeriod: 0 })
  await connected(sleeper)
  await sleeper.subscribeAsync(inference, { qos: 2 })
  await sleeper.endAsync()
  const member = open(anna, { clientId: `${anna.name}/member`, reconnectPeriod: 0 })
  await connected(member)
  await member.subscribeAsync(`$share/g/${escalations}`, { qos: 1 })
  await member.endAsync()
  const watcher = open(anna, { clientId: `${anna.name}/watcher` })
  const watched = collect(watcher)
  await watcher.subscribeAsync(inference, { qos: 1 })

  await broker.turnOn()
  const device = open(press)
  const acknowledged = new Set<string>()
  const escalated = new Set<string>()
  let next = 0
  let attempts = 0
  const worker = async () => {
    while (next < total) {
      const i = next++
      const isEscalation = i % 4 === 0
      const topic = isEscalation ? escalationOf('press-1') : inference
      const qos = i % 10 === 0 ? 2 : 1
      // MQTT.js gives up some of what a broken connection interrupts: that is not acknowledged, and another takes its place.
      for (;;) {
        const payload = `${qos} ${++attempts}`
        const published = await device.publishAsync(topic, payload, { qos }).catch(() => undefined)
        if (published) {
          ;(isEscalation ? escalated : acknowledged).add(payload)
          break
        }
        await pause(20)
      }
    }
  }
  const working = Promise.all(Array.from({ length: 10 }, worker))
  // Some errors break connections, which then take until the next attempt: faults end after a while even so.
  await Promise.race([working, pause(15_000)])
  await broker.turnOff()
  const thrown = await broker.thrown()
  t.diagnostic(`seed ${seed}: ${thrown} calls failed, ${acknowledged.size + escalated.size} of ${total} acknowledged`)
  assert.ok(broker.isRunning, broker.program.output)
  assert.ok(thrown > 10, `${thrown} calls failed: ${broker.program.output.slice(-3_000)}`)
  await Promise.race([
    working,
    pause(60_000).then(() => assert.fail(`${acknowledged.size + escalated.size} of ${total} are acknowledged at last`)),
  ])

  const whole = async (what: string, received: ReturnType<typeof collect>, wanted: ReadonlySet<string>) => {
    const lost = () => {
      const have = new Set(received.payloads())
      return [...wanted].filter(payload => !have.has(payload))
    }
    const signal = AbortSignal.timeout(30_000)
    while (lost().length > 0 && !signal.aborted) await pause(50)
    assert.deepEqual(lost(), [], `lost by ${what}, seed ${seed}: ${broker.program.output.slice(-3_000)}`)
  }
  await whole('the watcher', watched, acknowledged)
  const slept = collect(open(anna, { clientId: `${anna.name}/sleeper` }))
  await whole('the sleeper', slept, acknowledged)
  await whole('the group', collect(open(anna, { clientId: `${anna.name}/member` })), escalated)
  // MQTT 3.1.1, 4.3.3.
  const exactlyOnce = slept.payloads().filter(payload => payload.startsWith('2 '))
  assert.ok(exactlyOnce.length > 0)
  assert.deepEqual([...exactlyOnce].sort(), [...new Set(exactlyOnce)].sort(), `twice, seed ${seed}`)
  assert.match(broker.program.output, /injected/, 'errors are logged')
  const errors = redis ? 'redis_errors' : 'store_errors'
  assert.notEqual(await broker.counted(`faultline_broker_${errors}_total`), 0, 'errors are counted')
  assert.doesNotMatch(broker.program.output, /unhandled error/)
  assert.equal(await broker.program.stop(), 0, broker.program.output.slice(-3_000))
}

for (const seed of seeds()) {
  test(
    `a broker whose SQLite store fails at random calls lives and loses nothing acknowledged, seed ${seed}`,
    {
      timeout: 180_000,
    },
    t => outlive(t, seed, directory => ({ store: join(directory, 'broker.db') }), false),
  )

  test(`a broker whose Redis fails at random calls lives and loses nothing acknowledged, seed ${seed}`, {
    skip: missing('redis-server'),
    timeout: 180_000,
  }, async t => {
    const { url } = await startRedis(t)
    await outlive(t, seed, () => ({ redis: url }), true)
  })
}
