import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Random } from '@faultline/inference'
import { covers } from '@faultline/protocol'
import { startMosquitto } from '../support/mosquitto.ts'
import { missing } from '../support/programs.ts'
import { rounds } from '../support/thorough.ts'
import { play, randomSteps, type Seen, type Step } from './exchange.ts'
import { startBroker } from './harness.ts'

const exchanges = rounds(500, 0.06)

/** Where Mosquitto 2 does otherwise, and why that may be. */
const allowed = {
  /**
   * MQTT 3.1.1, 3.3.5-1: overlapping subscriptions are delivered at the highest QoS. Mosquitto, told to send one copy, takes
   * the QoS of the one it finds first, and does not queue what it takes to be of QoS 0.
   */
  overlap: 'a message for subscriptions of different QoS comes at the highest',
  /** MQTT 3.1.1, 3.1.2.4 has a session that holds nothing be one; this broker stores a session with its subscriptions. */
  emptySession: 'a session without a subscription is not said to be present',
} as const

/** What a subscriber of an exchange has: the same at both brokers. */
interface Subscriber {
  filters: Map<string, number>
  isStored: boolean
  online: boolean
  acknowledges: boolean
  /** It may have, or not have, messages of an overlap in its queue: nothing it sees is compared until its next session. */
  excused: boolean
}

/** What is to be the same of a step, as text; notes which of the allowed differences it left out. */
class Comparison {
  private readonly used: Set<string>
  private readonly subscribers = new Map<number, Subscriber>()

  constructor(used: Set<string>) {
    this.used = used
  }

  /** Follows a step before it is compared. */
  follow(step: Step): void {
    if (step.does === 'publish') {
      for (const subscriber of this.subscribers.values()) {
        const isQueued = !subscriber.online || !subscriber.acknowledges
        if (isQueued && overlaps(subscriber, step.topic)) subscriber.excused = true
      }
      return
    }
    const subscriber = this.of(step.who)
    if (step.does === 'connect') {
      const isNew = step.clean || !subscriber.isStored
      if (isNew) this.subscribers.set(step.who, { ...none(), isStored: !step.clean })
      Object.assign(this.of(step.who), { online: true, acknowledges: true })
    } else if (step.does === 'subscribe') {
      subscriber.filters.set(step.filter, step.qos)
      if (!subscriber.acknowledges && new Set(subscriber.filters.values()).size > 1) subscriber.excused = true
    } else if (step.does === 'unsubscribe') subscriber.filters.delete(step.filter)
    else if (step.does === 'stop acknowledging') subscriber.acknowledges = false
    else subscriber.online = false
  }

  /** In the order in which each subscriber had the messages of each topic (4.6.0-5, 4.6.0-6). */
  textOf(seen: readonly Seen[]): string[] {
    const texts: string[] = []
    const keyOf = ({ who, topic = '' }: Seen) => `${who} ${topic}`
    for (const { who, topic, qos, text } of seen.toSorted((a, b) =>
      keyOf(a) < keyOf(b) ? -1 : keyOf(a) > keyOf(b) ? 1 : 0,
    )) {
      const subscriber = this.of(who)
      if (topic === undefined) {
        const isEmpty = subscriber.isStored && subscriber.filters.size === 0
        if (isEmpty) this.use('emptySession')
        else texts.push(`${who} ${text}`)
      } else if (subscriber.excused) this.use('overlap')
      else if (overlaps(subscriber, topic)) {
        this.use('overlap')
        texts.push(`${who} ${text}`)
      } else texts.push(`${who} ${text} QoS ${qos}`)
    }
    return texts
  }

  private of(who: number): Subscriber {
    let subscriber = this.subscribers.get(who)
    if (!subscriber) {
      subscriber = none()
      this.subscribers.set(who, subscriber)
    }
    return subscriber
  }

  private use(difference: keyof typeof allowed): void {
    this.used.add(allowed[difference])
  }
}

const none = (): Subscriber => ({
  filters: new Map(),
  isStored: false,
  online: false,
  acknowledges: true,
  excused: false,
})

/** Whether subscriptions of different QoS match a topic. */
function overlaps({ filters }: Subscriber, topic: string): boolean {
  const matching = [...filters].filter(([filter]) => covers(filter, topic)).map(([, qos]) => qos)
  return new Set(matching).size > 1
}

test(`${exchanges} random exchanges go as with Mosquitto`, { skip: missing('mosquitto') }, async t => {
  const { broker, secrets } = await startBroker(t)
  const mosquitto = await startMosquitto(t, ['allow_duplicate_messages false'])
  const [here, there] = [
    { port: broker.port, secrets },
    { port: Number(new URL(mosquitto.url).port), secrets: undefined },
  ]
  let compared = 0
  const used = new Set<string>()
  for (let seed = 1; seed <= exchanges; seed++) {
    const steps = randomSteps(new Random(seed), 16)
    const [ours, theirs] = await Promise.all([play(t, here, steps), play(t, there, steps)])
    const comparison = new Comparison(used)
    for (const [i, step] of steps.entries()) {
      comparison.follow(step)
      const [texts, expected] = [comparison.textOf(ours[i]!), comparison.textOf(theirs[i]!)]
      compared += texts.length
      const before = steps.slice(0, i + 1).map(one => JSON.stringify(one))
      assert.deepEqual(texts, expected, `exchange ${seed}:\n${before.join('\n')}`)
    }
  }
  // A difference that is there no more is to be struck out.
  assert.deepEqual([...used].sort(), Object.values(allowed).sort())
  assert.ok(compared > 10 * exchanges, `${compared} messages were compared`)
})
