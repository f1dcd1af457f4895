import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import { identityOf, newId, topicFilter } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { Escalations } from '../../device-agent/decisions/escalations.ts'
import { type AgentBroker, startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site, startServer } from '../support/edge.ts'
import { TinyServerModel, tinyTask } from '../support/tiny-models.ts'
import { queued } from './fake-host.ts'

const deadlineMs = 60_000
const maxQueue = 32

/** A device that heeds no `retryAfterMs`, and counts how each escalation ends. */
async function startHasty(t: { after(clean: () => Promise<void>): void }, { url, secret }: AgentBroker) {
  const ends = new Map<string, string[]>()
  const events = new EventEmitter()
  const escalations = new Escalations<string>({
    settled: (id, { outcome }) => {
      ends.get(id)!.push(outcome)
      events.emit('end')
    },
    revised: () => {},
  })
  const session = new MqttSession({
    url,
    secret,
    identity: identityOf('device', site, device),
    subscriptions: [topicFilter('verdict', { site, device })],
    onMessage: message => {
      if (message.kind === 'verdict') escalations.receive(point, message.payload)
    },
    logger: silentLogger,
  })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline(AbortSignal.timeout(60_000))
  const count = (outcome: string) => [...ends.values()].flat().filter(each => each === outcome).length
  return {
    ends,
    count,
    escalate: () => {
      const { escalation } = queued({ patienceMs: deadlineMs })
      const id = newId()
      ends.set(id, [])
      escalations.add(id, point, id, deadlineMs)
      return session.publish({ kind: 'escalation', site, device, point }, { ...escalation, id })
    },
    /** Resolves once something is so; it is asked again at every end. */
    until: async (condition: () => boolean) => {
      const signal = AbortSignal.timeout(deadlineMs)
      while (!condition()) await once(events, 'end', { signal })
    },
  }
}

test('of three times as much as may wait, what there is no room for is told at once, and each escalation ends once', async t => {
  const broker = await startAgentBroker(t)
  const model = new TinyServerModel()
  await startServer(t, broker, { classifiers: new Map([[tinyTask, model]]), maxBatch: 8, maxQueue })
  const { ends, count, escalate, until } = await startHasty(t, broker)
  const release = model.hold()
  await escalate()
  await model.working()
  await Promise.all(Array.from({ length: 3 * maxQueue }, escalate))
  // Before anything is answered.
  await until(() => count('rejected') >= 2 * maxQueue)
  assert.equal(count('answered'), 0)
  release()
  await until(() => count('answered') + count('rejected') + count('late') === ends.size)
  assert.equal(count('late'), 0)
  assert.ok(count('answered') > 1)
  assert.ok([...ends.values()].every(each => each.length === 1))
  // The server is as it was before.
  const before = count('answered')
  await escalate()
  await until(() => count('answered') === before + 1)
})
