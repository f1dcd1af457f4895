import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { defaultAlarmRule } from '@faultline/flows'
import { type FaultlineError, identityOf, type Message, type TopicAddress } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { AlarmKeeper, type AlarmKeeperOptions, type Clock } from '../../flows/alarms/alarm-keeper.ts'
import { BrokerLink } from '../../flows/mqtt/broker-link.ts'
import { address, alarmOf, inference, startBroker, startClients } from './fixtures.ts'

type Access = Awaited<ReturnType<typeof startBroker>>['flows']

const topic = { kind: 'alarm', site: 'plant-a', machine: 'press-1', fault: 'ball' } as const
const ball = (): Extract<Message, { kind: 'inference' }> => ({
  kind: 'inference',
  address: address(),
  payload: inference('ball'),
})

/** A link and a keeper upon it; nothing is started. */
function newKeeper(t: TestContext, access: Access, more: Partial<AlarmKeeperOptions> = {}) {
  const link = new BrokerLink({ ...access, logger: silentLogger })
  const forgotten: string[] = []
  const keeper = new AlarmKeeper({
    link,
    rule: defaultAlarmRule,
    onChange: () => {},
    onNotice: () => {},
    onForgotten: () => forgotten.push('one'),
    onError: () => {},
    ...more,
  })
  t.after(async () => {
    await keeper.stop()
    await link.stop()
  })
  return { link, keeper, forgotten }
}

async function startKeeper(t: TestContext, access: Access, more: Partial<AlarmKeeperOptions> = {}) {
  const made = newKeeper(t, access, more)
  const settled = once(made.link, 'settled')
  await made.link.start()
  await made.keeper.start()
  await settled
  return made
}

/** A wall clock that can be set, and timers that keep to another. */
class TestClock implements Clock {
  private elapsed = 0
  private wall = Date.UTC(2026, 0, 1, 12)
  private readonly timers = new Set<{ work: () => void; at: number }>()

  now(): Date {
    return new Date(this.wall)
  }

  monotonic(): number {
    return this.elapsed
  }

  setTimeout(work: () => void, delayMs: number): unknown {
    const timer = { work, at: this.elapsed + delayMs }
    this.timers.add(timer)
    return timer
  }

  clearTimeout(timer: unknown): void {
    this.timers.delete(timer as { work: () => void; at: number })
  }

  set(byMs: number): void {
    this.wall += byMs
  }

  pass(ms: number): void {
    this.elapsed += ms
    this.wall += ms
    for (const timer of [...this.timers]) {
      if (timer.at > this.elapsed) continue
      this.timers.delete(timer)
      timer.work()
    }
  }
}

async function startAdministrator(t: TestContext, access: Access): Promise<MqttSession> {
  const identity = identityOf('flows', 'administrator')
  const session = new MqttSession({ ...access, identity, subscriptions: [], logger: silentLogger })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline()
  return session
}

test('an alarm cleared by hand is forgotten, and does not come back with the broker', async t => {
  const broker = await startBroker(t)
  const administrator = await startAdministrator(t, broker.flows)
  await administrator.publish(topic, alarmOf('press-1', 'ball', 'unacknowledged'))
  const other = { ...topic, machine: 'press-2' }
  await administrator.publish(other, alarmOf('press-2', 'ball', 'unacknowledged'))
  const { link, keeper, forgotten } = await startKeeper(t, broker.flows)
  assert.equal([...keeper.alarms()].length, 2)
  // Its grown count waits to be published; that must not bring it back either.
  await keeper.observe(ball())
  const cleared = once(link, 'cleared')
  await administrator.publishRaw(topic, Buffer.alloc(0))
  assert.deepEqual((await cleared) as [TopicAddress], [topic])
  const machines = () => [...keeper.alarms()].map(({ machine }) => machine)
  assert.deepEqual([machines(), forgotten.length], [['press-2'], 1])
  const late: Message[] = []
  link.subscribe(['alarm'], message => late.push(message))
  assert.deepEqual(
    late.map(message => message.address),
    [other],
  )
  await administrator.stop()
  const published = once(link, 'online')
  await broker.stop()
  const again = await startBroker(t, broker.port)
  const clients = await startClients(t, again.url)
  await published
  await clients.alarm(({ machine }) => machine === 'press-2')
  await keeper.stop() // Publishes what is left.
  await link.stop()
  const newcomer = await startClients(t, again.url)
  await newcomer.alarm(({ machine }) => machine === 'press-2')
  assert.deepEqual([...new Set([...clients.alarms, ...newcomer.alarms].map(({ machine }) => machine))], ['press-2'])
})

test('windows that wait too long for the broker are given up with an error, the oldest first', async t => {
  const { keeper } = newKeeper(t, { url: 'mqtt://127.0.0.1:1', identity: identityOf('flows', 'test'), secret: 'none' })
  await keeper.start()
  const codes: string[] = []
  const observed = Array.from({ length: 10_002 }, (_, i) =>
    keeper.observe(ball()).catch((error: FaultlineError) => codes.push(`${i} ${error.code}`)),
  )
  await Promise.all(observed.slice(0, 2))
  assert.deepEqual(codes, ['0 BROKER_UNREACHABLE', '1 BROKER_UNREACHABLE'])
  await keeper.stop()
  await Promise.all(observed)
  assert.equal(codes.length, 10_002)
})

for (const [direction, jumpMs] of [
  ['ahead', 86_400_000],
  ['back', -86_400_000],
] as const) {
  test(`a clock that is set ${direction} does not change when an alarm is raised`, async t => {
    const broker = await startBroker(t)
    const clock = new TestClock()
    const changes: string[] = []
    const { keeper } = await startKeeper(t, broker.flows, {
      clock,
      rule: { ...defaultAlarmRule, on: { ...defaultAlarmRule.on, delayS: 30 } },
      onChange: ({ change }) => changes.push(change),
    })
    for (let i = 0; i < defaultAlarmRule.on.votes; i++) await keeper.observe(ball())
    clock.pass(20_000)
    clock.set(jumpMs)
    await keeper.observe(ball())
    clock.pass(9_000)
    assert.deepEqual(changes, [])
    clock.pass(1_000)
    assert.deepEqual(changes, ['raised'])
  })
}

test('a listener that throws when something has become due is reported, and the next is woken', async t => {
  const broker = await startBroker(t)
  const clock = new TestClock()
  const errors: string[] = []
  const notices: string[] = []
  const { keeper } = await startKeeper(t, broker.flows, {
    clock,
    rule: { ...defaultAlarmRule, notices: { contacts: ['ada'], repeatS: 60, repeats: 3 } },
    onNotice: (_, { count }) => {
      if (count === 2) throw new Error('the flow behind it is broken')
      notices.push(`${count}`)
    },
    onError: ({ message }) => errors.push(message),
  })
  for (let i = 0; i < defaultAlarmRule.on.votes; i++) await keeper.observe(ball())
  clock.pass(60_000)
  assert.deepEqual([notices, errors], [['1'], ['the flow behind it is broken']])
  clock.pass(60_000)
  assert.deepEqual(notices, ['1', '3'])
})
