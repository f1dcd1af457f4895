import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Identity } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { MortalBroker } from '../support/mortal-broker.ts'
import { missing } from '../support/programs.ts'
import { startRedis } from '../support/redis.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { anna, ben, collect, connected, credentials, escalationOf, escalations, press, pump } from './harness.ts'

const total = 2_000
const stateOf = ({ name }: Identity) => `faultline/v1/${name}/state`
const group = `$share/servers/${escalations}`
const inference = `faultline/v1/${press.name}/points/de/inference`

test('when a broker is killed under load its clients go to the other, and nothing acknowledged is lost', {
  skip: missing('redis-server'),
}, async t => {
  const directory = await temporaryDirectory(t)
  const redis = await startRedis(t)
  const registry = new Registry(join(directory, 'registry.db'))
  await registry.start()
  t.after(() => registry.stop())
  const secrets = new Map<string, string>()
  for (const identity of [press, pump, anna, ben]) secrets.set(identity.name, (await registry.enroll(identity)).secret)
  const limits = { messagesPerSecond: 1_000_000 }
  const entries = { registry: join(directory, 'registry.db'), redis: redis.url, limits }
  const mortal = new MortalBroker(t, directory, entries, 'mortal')
  const other = new MortalBroker(t, directory, entries, 'other')
  await Promise.all([mortal.start(), other.start()])
  const servers = [mortal, other].map(({ port }) => ({ host: '127.0.0.1', port, protocol: 'mqtt' as const }))

  /** Goes to the first broker that answers. */
  const open = (identity: Identity, options: IClientOptions = {}, order = servers): MqttClient => {
    const client = mqtt.connect({
      servers: order,
      clean: false,
      reconnectPeriod: 50,
      ...credentials(identity, secrets),
      ...options,
    })
    t.after(() => client.end(true))
    client.on('error', () => {}) // It goes to the next.
    return client
  }
  const willOf = (identity: Identity) => ({
    will: { topic: stateOf(identity), payload: Buffer.from('gone'), qos: 1 as const, retain: true },
  })
  // At the mortal broker: a device, another that will not return, one that hears everything, and one of two members of a group.
  const device = open(press, willOf(press))
  device.on('connect', () => device.publish(stateOf(press), 'here', { qos: 1, retain: true }))
  const leaver = open(pump, { ...willOf(pump), reconnectPeriod: 0 })
  const listener = open(ben, { clientId: `${ben.name}/all` })
  const members = [
    open(anna, { clientId: `${anna.name}/mortal` }),
    open(anna, { clientId: `${anna.name}/other` }, [servers[1]!]),
  ]
  const heard = collect(listener)
  const shared = members.map(collect)
  await Promise.all([device, leaver, listener, ...members].map(connected))
  await listener.subscribeAsync([escalations, inference], { qos: 2 })
  for (const member of members) await member.subscribeAsync(group, { qos: 1 })

  const acknowledged = new Set<string>()
  const completed: string[] = []
  let next = 0
  const worker = async () => {
    while (next < total) {
      const payload = String(next++)
      await device.publishAsync(escalationOf('press-1'), payload, { qos: 1 })
      acknowledged.add(payload)
      if (Number(payload) % 10 === 0) {
        await device.publishAsync(inference, payload, { qos: 2 })
        completed.push(payload)
      }
      if (acknowledged.size === total / 4) mortal.kill().catch(error => t.diagnostic(`${error}`))
    }
  }
  await Promise.all(Array.from({ length: 30 }, worker))
  assert.equal(acknowledged.size, total)

  const whole = async (what: string, received: (typeof heard)[]) => {
    const missed = () => {
      const escalated = received.flatMap(({ messages }) => messages.filter(({ topic }) => topic !== inference))
      const have = new Set(escalated.map(({ payload }) => payload))
      return [...acknowledged].filter(payload => !have.has(payload))
    }
    const signal = AbortSignal.timeout(30_000)
    while (missed().length > 0) {
      if (signal.aborted) assert.deepEqual(missed(), [], `lost to ${what}`)
      const count = (collected: typeof heard) => collected.messages.length
      await Promise.race(received.map(collected => collected.until(count(collected) + 1).catch(() => {})))
    }
  }
  await whole('the subscriber', [heard])
  const ofQos2 = () => heard.messages.filter(({ topic }) => topic === inference).map(({ payload }) => payload)
  while (ofQos2().length < completed.length) await heard.until(heard.messages.length + 1)
  assert.deepEqual(ofQos2().sort(), completed.sort(), 'QoS 2 is not exactly once')
  await whole('the group', shared)
  assert.ok(
    shared.every(({ messages }) => messages.length > total / 10),
    'the group was not shared',
  )
  const reader = open(anna, { clientId: 'reader', clean: true }, [servers[1]!])
  const states = collect(reader)
  await reader.subscribeAsync('faultline/v1/devices/+/+/state', { qos: 1 })
  while (!states.messages.some(({ topic }) => topic === stateOf(pump))) await states.until(states.messages.length + 1)
  const last = new Map(states.messages.map(({ topic, payload }) => [topic, payload]))
  assert.deepEqual(Object.fromEntries(last), { [stateOf(press)]: 'here', [stateOf(pump)]: 'gone' })
})
