import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { PreparedInput } from '@faultline/inference'
import { identityOf, newId, topicFilter } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { Escalations } from '../../device-agent/decisions/escalations.ts'
import { type AgentBroker, startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site, startServer } from '../support/edge.ts'
import { TinyServerModel, tinyTask } from '../support/tiny-models.ts'
import { queued } from './fake-host.ts'

/** As long as a big model takes over a window, whatever else the machine does. */
const msPerWindow = 12
const deadlineMs = 1_500

class SlowModel extends TinyServerModel {
  override async classifyPrepared(inputs: readonly PreparedInput[]) {
    await delay(msPerWindow * inputs.length)
    return super.classifyPrepared(inputs)
  }
}

/** A device that heeds no `retryAfterMs`, and counts how each escalation ends. */
async function startHasty(t: { after(clean: () => Promise<void>): void }, { url, secret }: AgentBroker) {
  const ends = new Map<string, string[]>()
  const ended = new EventEmitter()
  const end = (id: string, outcome: string) => {
    ends.get(id)!.push(outcome)
    ended.emit('end', outcome)
  }
  const escalations = new Escalations<string>({
    settled: (id, { outcome }) => end(id, outcome),
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
  await session.whenOnline(AbortSignal.timeout(20_000))
  const escalate = () => {
    const { escalation } = queued({ patienceMs: deadlineMs })
    const id = newId()
    ends.set(id, [])
    escalations.add(id, point, id, deadlineMs)
    void session.publish({ kind: 'escalation', site, device, point }, { ...escalation, id })
  }
  return { ends, ended, escalations, escalate }
}

test('at three times the capacity as much is answered in time as at capacity, and each escalation ends once', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker, { classifiers: new Map([[tinyTask, new SlowModel()]]), maxBatch: 8 })
  const { ends, ended, escalations, escalate } = await startHasty(t, broker)
  const durationMs = 2_000
  /** Answers per second in time, from the first one on, while `load` lasts. */
  const goodput = async (load: (until: number) => Promise<void>): Promise<number> => {
    let answers = 0
    let first = 0
    let last = 0
    const count = (outcome: string) => {
      if (outcome !== 'answered') return
      last = performance.now()
      if (answers++ === 0) first = last
    }
    ended.on('end', count)
    await load(performance.now() + durationMs)
    await escalations.idle(20_000)
    ended.off('end', count)
    return ((answers - 1) * 1_000) / (last - first)
  }

  const peak = await goodput(async until => {
    for (let i = 0; i < 24; i++) escalate()
    while (performance.now() < until) {
      await once(ended, 'end', { signal: AbortSignal.timeout(20_000) })
      escalate()
    }
  })
  const before = ends.size
  const overloaded = await goodput(async until => {
    const startedAt = performance.now()
    for (let sent = 0; performance.now() < until; ) {
      while (sent < (3 * peak * (performance.now() - startedAt)) / 1_000) {
        escalate()
        sent++
      }
      await delay(5)
    }
  })
  assert.ok(ends.size - before > 2 * peak * (durationMs / 1_000), `${ends.size - before} escalations are no overload`)
  assert.ok(overloaded > 0.9 * peak, `${overloaded} of ${peak} windows per second`)
  const outcomes = [...ends.values()]
  assert.ok(outcomes.every(each => each.length === 1))
  const counted = (outcome: string) => outcomes.filter(([only]) => only === outcome).length
  const [answered, late, rejected] = ['answered', 'late', 'rejected'].map(counted) as [number, number, number]
  assert.equal(answered + late + rejected, ends.size)
  // Told no at once rather than too late.
  assert.ok(late <= 0.05 * rejected, `${answered} answered, ${late} late, ${rejected} rejected`)
})
