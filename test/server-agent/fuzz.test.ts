import assert from 'node:assert/strict'
import { EventEmitter, once } from 'node:events'
import { test } from 'node:test'
import { Random } from '@faultline/inference'
import { type Escalation, encodeWindow, identityOf, isRejected, newId } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { startAgentBroker } from '../support/agent-broker.ts'
import { cbor } from '../support/cbor.ts'
import { device, machine, point, site, startServer } from '../support/edge.ts'
import { collectedHeap, hostilePayload } from '../support/hostile-payloads.ts'
import { rounds } from '../support/thorough.ts'
import { sample, tinyTask, tinyWindow } from '../support/tiny-models.ts'

const total = rounds(10_000)
const burst = 100
const seed = 20_261
const growthBoundBytes = 4_000_000

const escalation = (): Escalation => ({
  v: 1,
  id: newId(),
  at: new Date().toISOString(),
  machine,
  reason: 'below-threshold',
  deadline: new Date(Date.now() + 60_000).toISOString(),
  task: tinyTask,
  local: { label: 'normal', confidence: 0.6, probabilities: [0.6, 0.4], digest: 'sha256:1111111111111111' },
  window: encodeWindow(tinyWindow(sample.fault)),
  shaftHz: 29.5,
})

test(`${total.toLocaleString('en')} mutated escalations leave a server agent up, honest ones answered and memory flat`, async t => {
  const broker = await startAgentBroker(t)
  const agent = await startServer(t, broker)
  const answers = new Map<string, () => void>()
  const heard = { answered: 0, rejected: 0 }
  const events = new EventEmitter()
  const session = new MqttSession({
    url: broker.url,
    secret: broker.secret,
    identity: identityOf('device', site, device),
    subscriptions: [`faultline/v1/devices/${site}/${device}/points/+/verdict`],
    onMessage: message => {
      if (message.kind !== 'verdict') return
      heard[isRejected(message.payload) ? 'rejected' : 'answered']++
      if (!isRejected(message.payload)) answers.get(message.payload.id)?.()
      events.emit('verdict')
    },
    logger: silentLogger,
  })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline(AbortSignal.timeout(20_000))
  const address = { kind: 'escalation', site, device, point } as const

  let early = 0
  let honest = 0
  /** Payloads without a byte, which MQTT clears retained messages with: they are no messages, and counted nowhere. */
  let empty = 0
  for (let sent = 0; sent < total; sent += burst) {
    const payloads = Array.from({ length: burst }, (_, i) =>
      hostilePayload(escalation(), cbor, new Random(seed * 2 ** 32 + sent + i)),
    )
    empty += payloads.filter(({ length }) => length === 0).length
    await Promise.all(payloads.map(bytes => session.publishRaw(address, bytes)))
    const sincere = escalation()
    await new Promise<void>((resolve, reject) => {
      answers.set(sincere.id, resolve)
      const message = () => {
        const bytes = payloads
          .map(payload => payload.toString('base64'))
          .join(' ')
          .slice(0, 50_000)
        return `no verdict after ${sent + burst} payloads (seed ${seed}); the last: ${bytes}`
      }
      AbortSignal.timeout(20_000).addEventListener('abort', () => reject(new Error(message())))
      session.publish(address, sincere).catch(reject)
    })
    answers.clear()
    honest++
    if (sent + burst === total / 5) early = collectedHeap()
  }
  // Those whose deadline was mutated into a later one come last.
  const isSettled = () => {
    const { answered, rejected, refused } = agent.counts
    return (
      answered + rejected + refused >= total + honest - empty && heard.answered + heard.rejected >= answered + rejected
    )
  }
  const signal = AbortSignal.timeout(20_000)
  while (!isSettled() && !signal.aborted) await once(events, 'verdict', { signal }).catch(() => {})
  const late = collectedHeap()
  const { answered, rejected, refused } = agent.counts
  t.diagnostic(
    `${answered} answered, ${rejected} rejected, ${refused} could not be read; ` +
      `heap ${(early / 1e6).toFixed(1)} MB early, ${(late / 1e6).toFixed(1)} MB late`,
  )
  assert.ok(agent.online)
  assert.equal(honest, total / burst)
  // Every one was answered, rejected with a verdict, or counted as none.
  assert.equal(answered + rejected + refused, total + honest - empty)
  assert.deepEqual(heard, { answered, rejected })
  assert.ok(refused > total / 4 && rejected > 0, `${refused} refused, ${rejected} rejected`)
  assert.ok(late - early < growthBoundBytes, `the heap grew by ${late - early} bytes`)
  assert.equal(({} as { polluted?: boolean }).polluted, undefined)
})
