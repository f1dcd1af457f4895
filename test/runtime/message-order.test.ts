import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type TestContext, test } from 'node:test'
import { encodePayload, examples, identityOf, type Message, topicFilter, topicOf } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { TestBroker } from './test-broker.ts'

const { state, alarm, verdict } = examples
const configDesired = examples['config-desired']
const stateTopic = topicOf(state.address)
const marker = encodePayload('verdict', verdict.payload)

/** Says in a word what a session heard. */
function wordOf({ kind, payload }: Message): string {
  if (kind === 'state') return `${payload.online ? 'online' : 'offline'} ${payload.boot}`
  if (kind === 'config-desired') return `revision ${payload.revision}`
  return kind
}

const online = (boot: number, at = '2026-03-01T10:00:00.000Z') =>
  encodePayload('state', { ...state.payload, online: true, boot, at } as typeof state.payload)
const will = (boot: number) => encodePayload('state', { online: false, boot })

/** A session that has subscribed, and whose retained messages are on the way until `release`. */
async function openLate(t: TestContext, retained: [topic: string, payload: Buffer][]) {
  const broker = new TestBroker()
  await broker.start()
  t.after(() => broker.stop())
  for (const [topic, payload] of retained) await broker.stored(topic, payload)
  let send = () => {}
  broker.retainedAfter = new Promise(resolve => {
    send = resolve
  })
  const heard: string[] = []
  let ended = () => {}
  const end = new Promise<void>(resolve => {
    ended = resolve
  })
  const session = new MqttSession({
    url: broker.url,
    identity: identityOf('flows', 'test'),
    secret: 'secret',
    subscriptions: (['state', 'config-desired', 'alarm', 'verdict'] as const).map(kind => topicFilter(kind)),
    onMessage: message => {
      if (message.kind === 'verdict') ended()
      else heard.push(wordOf(message))
    },
    logger: silentLogger,
    backOff: { initialMs: 20, maximumMs: 200 },
  })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline(AbortSignal.timeout(5_000))
  return {
    broker,
    session,
    /** Resolves with all that was heard, after the retained messages and everything that was published. */
    release: async () => {
      const sent = new Promise<void>(resolve => {
        broker.onRetainedSent = resolve
      })
      send()
      await sent
      broker.publish(topicOf(verdict.address), marker)
      await end
      return heard
    },
  }
}

test('a retained will that arrives after the state of a device that is connected again is passed over', async t => {
  const { broker, release } = await openLate(t, [[stateTopic, will(4)]])
  await broker.stored(stateTopic, online(4))
  assert.deepEqual(await release(), ['online 4'])
})

test('a retained state that arrives after the will of its connection is passed over', async t => {
  const { broker, release } = await openLate(t, [[stateTopic, online(4)]])
  await broker.stored(stateTopic, will(4))
  assert.deepEqual(await release(), ['offline 4'])
})

test('a retained message that nothing has overtaken is heard, of every kind', async t => {
  const { release } = await openLate(t, [
    [stateTopic, online(4)],
    [topicOf(alarm.address), encodePayload('alarm', alarm.payload)],
    [topicOf(configDesired.address), encodePayload('config-desired', configDesired.payload)],
  ])
  assert.deepEqual((await release()).sort(), ['alarm', 'online 4', `revision ${configDesired.payload.revision}`])
})

test('what was retained before it was cleared is passed over', async t => {
  const { broker, session, release } = await openLate(t, [
    [topicOf(alarm.address), encodePayload('alarm', alarm.payload)],
  ])
  const cleared = once(session, 'cleared')
  await broker.stored(topicOf(alarm.address), Buffer.alloc(0))
  await cleared
  assert.deepEqual(await release(), [])
})

test('a retained message that is newer than the live one before it is heard', async t => {
  const topic = topicOf(configDesired.address)
  const revision = (number: number) => encodePayload('config-desired', { ...configDesired.payload, revision: number })
  const { broker, release } = await openLate(t, [[topic, revision(6)]])
  // As from the queue of a stored session that lost its end.
  await broker.stored(topic, revision(5))
  assert.deepEqual(await release(), ['revision 5', 'revision 6'])
})

test('the will of an earlier start never beats a later state, and that of the same start does', async t => {
  const { broker, release } = await openLate(t, [])
  for (const payload of [online(4), online(5), will(4), will(5)]) await broker.stored(stateTopic, payload)
  assert.deepEqual(await release(), ['online 4', 'online 5', 'offline 5'])
})

test('an agent that counts its starts anew is heard', async t => {
  const { broker, release } = await openLate(t, [[stateTopic, will(57)]])
  for (const payload of [online(57), online(1, '2026-03-02T10:00:00.000Z'), will(1)])
    await broker.stored(stateTopic, payload)
  assert.deepEqual(await release(), ['online 57', 'online 1', 'offline 1'])
})

test('what is retained is heard again after a break of the connection', async t => {
  const { broker, session, release } = await openLate(t, [])
  await broker.stored(stateTopic, online(4))
  const back = once(session, 'online')
  broker.breakConnections()
  await back
  assert.deepEqual(await release(), ['online 4', 'online 4'])
})
