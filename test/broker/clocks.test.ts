import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { Registry } from '@faultline/provisioning'
import mqtt, { type IClientOptions } from 'mqtt'
import { Broker } from '../../broker/broker.ts'
import { silentLogger } from '../../runtime/logger.ts'
import { MortalBroker } from '../support/mortal-broker.ts'
import { missing } from '../support/programs.ts'
import { startRedis } from '../support/redis.ts'
import { shiftedClock } from '../support/shifted-clock.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { anna, collect, connected, credentials, escalationOf, escalations, press } from './harness.ts'
import { connectRaw } from './raw-client.ts'

const minuteMs = 60_000
const groupOf = (name: string) => `$share/${name}/${escalations}`

test('a broker whose clock is two days ahead keeps what others acknowledged', {
  skip: missing('redis-server'),
}, async t => {
  const directory = await temporaryDirectory(t)
  const redis = await startRedis(t)
  const registry = new Registry(join(directory, 'registry.db'))
  await registry.start()
  t.after(() => registry.stop())
  const secrets = new Map<string, string>()
  for (const identity of [press, anna]) secrets.set(identity.name, (await registry.enroll(identity)).secret)
  // It looks at sessions every half second, and ends those whose clients were away for two seconds of its own.
  const limits = { absentSessionMs: 2_000 }
  const entries = { registry: join(directory, 'registry.db'), redis: redis.url, limits }
  const ahead = new MortalBroker(t, directory, entries, 'ahead', shiftedClock(48 * 60 * minuteMs))
  await ahead.start()
  const right = new Broker({ port: 0, registry, redis: redis.url, logger: silentLogger })
  await right.start()
  t.after(() => right.stop())

  const open = async (port: number, identity: typeof press, options: IClientOptions) => {
    const login = { ...credentials(identity, secrets), reconnectPeriod: 0, ...options }
    const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, login)
    t.after(() => client.end(true))
    await connected(client)
    return client
  }
  const leave = async (clientId: string, clean: boolean, filter: string) => {
    const client = await open(right.port, anna, { clientId, clean })
    await client.subscribeAsync(filter, { qos: 1 })
    client.stream.destroy()
  }
  // A session that is connected and acknowledges nothing, and one that is not: it ends when the other broker has looked.
  const login = { username: anna.name, password: Buffer.from(secrets.get(anna.name)!), clean: false }
  const deaf = { ...login, clientId: `${anna.name}/deaf` }
  const first = await connectRaw(t, right.port, deaf)
  await first.next('connack')
  first.send({ cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: escalations, qos: 1 }] })
  await first.next('suback')
  // Likewise a group, and one that was left before.
  await leave('early', true, groupOf('early'))
  const { engine } = right
  const ids = async () => new Set(await engine!.persistence.sessions())
  const emptied = AbortSignal.timeout(10_000)
  while (!(await redis.isEmptyGroup(groupOf('early')))) emptied.throwIfAborted()
  await redis.pass(4 * minuteMs)
  await leave('late', true, groupOf('late'))
  await leave(`${anna.name}/away`, false, escalations)
  const device = await open(right.port, press, {})
  for (let i = 0; i < 20; i++) await device.publishAsync(escalationOf('press-1'), String(i), { qos: 1 })

  const until = async (id: string) => {
    const signal = AbortSignal.timeout(30_000)
    while ((await ids()).has(id)) {
      signal.throwIfAborted()
      await new Promise(setImmediate)
    }
  }
  await until(`${anna.name}/away`)
  const again = await connectRaw(t, ahead.port, deaf)
  for (let i = 0; i < 20; i++) assert.equal((await again.next('publish')).payload.toString(), String(i))

  await redis.pass(2 * minuteMs)
  await until(groupOf('early'))
  const member = await open(ahead.port, anna, { clientId: 'late' })
  const received = collect(member)
  await member.subscribeAsync(groupOf('late'), { qos: 1 })
  await received.until(20)
})
