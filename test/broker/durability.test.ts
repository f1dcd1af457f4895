import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Random } from '@faultline/inference'
import { Registry } from '@faultline/provisioning'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { MortalBroker } from '../support/mortal-broker.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { rounds } from '../support/thorough.ts'
import { anna, collect, connected, credentials, escalationOf, escalations, press } from './harness.ts'

const total = rounds(10_000)
const kills = 4
const inference = `faultline/v1/${press.name}/points/de/inference`
const state = `faultline/v1/${press.name}/state`

test('nothing that was acknowledged is lost when the broker is killed', async t => {
  const directory = await temporaryDirectory(t)
  const registry = new Registry(join(directory, 'registry.db'))
  await registry.start()
  t.after(() => registry.stop())
  const secrets = new Map<string, string>()
  for (const identity of [press, anna]) secrets.set(identity.name, (await registry.enroll(identity)).secret)
  const files = { registry: join(directory, 'registry.db'), store: join(directory, 'broker.db') }
  const limits = { queuedMessages: 2 * total, messagesPerSecond: 1_000_000 }
  const broker = new MortalBroker(t, directory, { ...files, limits })
  await broker.start()

  const open = (identity: typeof press, options: IClientOptions = {}): MqttClient => {
    const client = mqtt.connect(`mqtt://127.0.0.1:${broker.port}`, {
      ...credentials(identity, secrets),
      clean: false,
      reconnectPeriod: 50,
      ...options,
    })
    t.after(() => client.end(true))
    client.on('error', () => {}) // It reconnects.
    return client
  }
  // One that sleeps through all of it, one that is connected whenever it can be, and a group whose member is away.
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

  const device = open(press)
  const acknowledged = new Set<string>()
  const escalated = new Set<string>()
  let retained = 0
  const random = new Random(7)
  const killAt = Array.from({ length: kills }, () => Math.floor(random.uniform() * total)).sort((a, b) => a - b)
  let alive: Promise<void> = Promise.resolve()
  const publish = async (i: number) => {
    await device.publishAsync(inference, String(i), { qos: i % 10 === 0 ? 2 : 1 })
    acknowledged.add(String(i))
    if (i % 100 === 0) {
      await device.publishAsync(escalationOf('press-1'), String(i), { qos: 1 })
      escalated.add(String(i))
      await device.publishAsync(state, String(i), { qos: 1, retain: true })
      retained = Math.max(retained, i)
    }
    // In the midst of what else is on its way.
    if (acknowledged.size >= (killAt[0] ?? Number.POSITIVE_INFINITY)) {
      killAt.shift()
      alive = alive.then(() => broker.kill()).then(() => broker.start())
    }
  }
  let next = 0
  const worker = async () => {
    while (next < total) await publish(next++)
  }
  await Promise.all(Array.from({ length: 50 }, worker))
  await alive
  assert.deepEqual([acknowledged.size, killAt.length], [total, 0])
  await broker.kill()
  await broker.start()

  const missing = (received: ReturnType<typeof collect>, wanted = acknowledged) => {
    const have = new Set(received.payloads())
    return [...wanted].filter(payload => !have.has(payload))
  }
  const whole = async (received: ReturnType<typeof collect>, wanted = acknowledged) => {
    const signal = AbortSignal.timeout(30_000)
    while (missing(received, wanted).length > 0) {
      if (signal.aborted) assert.deepEqual(missing(received, wanted), [], 'lost')
      await received.until(received.messages.length + 1).catch(() => {})
    }
  }
  await whole(watched)
  const again = open(anna, { clientId: `${anna.name}/sleeper` })
  const slept = collect(again)
  await whole(slept)
  // Of QoS 2 exactly once, however often the broker died.
  const twice = slept.payloads().filter((payload, i, all) => Number(payload) % 10 === 0 && all.indexOf(payload) !== i)
  assert.deepEqual(twice, [])
  const back = open(anna, { clientId: `${anna.name}/member` })
  await whole(collect(back), escalated)
  const reader = open(anna, { clientId: 'reader', clean: true })
  const states = collect(reader)
  await reader.subscribeAsync(state)
  const [last] = await states.until(1)
  assert.ok(last!.retain && Number(last!.payload) >= retained - 100, `${last!.payload}, acknowledged ${retained}`)
})
