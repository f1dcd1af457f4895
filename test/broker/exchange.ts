import type { TestContext } from 'node:test'
import type { Random } from '@faultline/inference'
import type { IPublishPacket, Packet } from 'mqtt-packet'
import { anna, press } from './harness.ts'
import { connectPacket, connectRaw, type RawClient } from './raw-client.ts'

type Qos = 0 | 1 | 2

/** What the clients of an exchange do, one after the other; `who` is one of two subscribers. */
export type Step =
  | { does: 'connect'; who: number; clean: boolean }
  | { does: 'subscribe'; who: number; filter: string; qos: Qos }
  | { does: 'unsubscribe'; who: number; filter: string }
  | { does: 'publish'; topic: string; qos: Qos; retain: boolean; payload: string }
  /** It goes on to read, and acknowledges no more. */
  | { does: 'stop acknowledging'; who: number }
  | { does: 'drop'; who: number }

/** What a subscriber saw in a step: a message, or whether a CONNACK spoke of a session. */
export interface Seen {
  who: number
  topic?: string
  qos?: number
  text: string
}

/** Where clients of both kinds of broker log in. */
export interface Place {
  port: number
  secrets: ReadonlyMap<string, string> | undefined
}

const stem = `faultline/v1/${press.name}`
const topics = [`${stem}/state`, `${stem}/points/de/inference`, `${stem}/points/fe/inference`]
const filters = [
  ...topics,
  'faultline/v1/devices/+/+/state',
  `${stem}/points/+/inference`,
  `${stem}/#`,
  'faultline/v1/#',
]
const subscribers = 2

/** A random exchange; both brokers are given the same. */
export function randomSteps(random: Random, length: number): Step[] {
  const below = (limit: number) => Math.floor(random.uniform() * limit)
  const steps: Step[] = []
  const online: boolean[] = []
  for (let who = 0; who < subscribers; who++) {
    steps.push({ does: 'connect', who, clean: below(3) === 0 })
    steps.push({ does: 'subscribe', who, filter: filters[below(filters.length)]!, qos: below(3) as Qos })
    online[who] = true
  }
  for (let i = 0; i < length; i++) {
    const who = below(subscribers)
    const [filter, qos] = [filters[below(filters.length)]!, below(3) as Qos]
    const kind = below(10)
    if (kind < 5) {
      const payload = below(8) === 0 ? '' : `m${i}`
      steps.push({ does: 'publish', topic: topics[below(topics.length)]!, qos, retain: below(3) === 0, payload })
    } else if (!online[who]) {
      steps.push({ does: 'connect', who, clean: below(5) === 0 })
      online[who] = true
    } else if (kind < 7) steps.push({ does: 'subscribe', who, filter, qos })
    else if (kind === 7) steps.push({ does: 'unsubscribe', who, filter })
    else if (kind === 8) steps.push({ does: 'stop acknowledging', who })
    else {
      steps.push({ does: 'drop', who })
      online[who] = false
    }
  }
  return steps
}

/** One client, which acknowledges what it gets for as long as it should. */
class Participant {
  acknowledges = true
  readonly got: IPublishPacket[] = []
  private readonly client: RawClient
  private readonly held = new Set<number>()

  constructor(client: RawClient) {
    this.client = client
  }

  async ask(packet: Packet, answer: Packet['cmd']): Promise<void> {
    this.client.send(packet)
    for (;;) {
      const got = await this.client.take()
      if (got.cmd === answer) return
      this.react(got)
    }
  }

  /** Sends what nothing answers, and waits until it was read. */
  async tell(packet: Packet): Promise<void> {
    this.client.send(packet)
    await this.ask({ cmd: 'pingreq' }, 'pingresp')
  }

  /** Until a broker that answers its clients in turn has sent what it had for this one. */
  async settle(): Promise<void> {
    for (let i = 0; i < 4; i++) await this.ask({ cmd: 'pingreq' }, 'pingresp')
  }

  async drop(): Promise<void> {
    this.client.socket.destroy()
    await this.client.closed()
  }

  async leave(): Promise<void> {
    this.client.send({ cmd: 'disconnect' })
    await this.client.closed()
  }

  private react(packet: Packet): void {
    if (packet.cmd === 'publish') {
      const { messageId } = packet
      if (packet.qos < 2 || !this.held.has(messageId!)) this.got.push(packet)
      if (packet.qos === 2) this.held.add(messageId!)
      if (packet.qos > 0 && this.acknowledges) {
        this.client.send({ cmd: packet.qos === 1 ? 'puback' : 'pubrec', messageId: messageId! })
      }
    } else if (packet.cmd === 'pubrel') {
      this.held.delete(packet.messageId!)
      if (this.acknowledges) this.client.send({ cmd: 'pubcomp', messageId: packet.messageId! })
    }
  }
}

async function open(t: TestContext, { port, secrets }: Place, name: string, clientId: string, clean: boolean) {
  const password = Buffer.from(secrets?.get(name) ?? 'unasked')
  const client = await connectRaw(t, port, { ...connectPacket, clientId, username: name, password, clean })
  const { sessionPresent } = await client.next('connack')
  return { participant: new Participant(client), sessionPresent }
}

const idOf = (who: number): string => `${anna.name}/${who}`

/** Runs an exchange; resolves with what the subscribers saw, step by step. */
export async function play(t: TestContext, place: Place, steps: readonly Step[]): Promise<Seen[][]> {
  const all: Seen[][] = []
  const { participant: publisher } = await open(t, place, press.name, press.name, true)
  const online = new Map<number, Participant>()
  const messageOf = (who: number, { topic, payload, qos, retain, dup }: IPublishPacket): Seen => {
    const flags = `${retain ? ' RETAIN' : ''}${dup ? ' DUP' : ''}`
    return { who, topic, qos, text: `${topic.slice(stem.length + 1)} "${payload}"${flags}` }
  }
  const publish = (topic: string, qos: Qos, retain: boolean, payload: string) => {
    const message = { cmd: 'publish', topic, payload, qos, retain, dup: false, messageId: 1 } as const
    if (qos === 1) return publisher.ask(message, 'puback')
    if (qos === 0) return publisher.tell(message)
    return publisher.ask(message, 'pubrec').then(() => publisher.ask({ cmd: 'pubrel', messageId: 1 }, 'pubcomp'))
  }
  for (const [i, step] of steps.entries()) {
    const seen: Seen[] = []
    if (step.does === 'publish') {
      const { topic, qos, retain, payload } = step
      await publish(topic, qos, retain, payload)
    } else {
      const { who } = step
      const participant = online.get(who)
      if (step.does === 'connect') {
        const { participant: returned, sessionPresent } = await open(t, place, anna.name, idOf(who), step.clean)
        online.set(who, returned)
        seen.push({ who, text: `CONNACK ${sessionPresent ? 'with a session' : 'without one'}` })
      } else if (step.does === 'subscribe') {
        const subscriptions = [{ topic: step.filter, qos: step.qos }]
        await participant!.ask({ cmd: 'subscribe', messageId: i + 1, subscriptions }, 'suback')
      } else if (step.does === 'unsubscribe') {
        await participant!.ask({ cmd: 'unsubscribe', messageId: i + 1, unsubscriptions: [step.filter] }, 'unsuback')
      } else if (step.does === 'stop acknowledging') participant!.acknowledges = false
      else {
        online.delete(who)
        await participant!.drop()
      }
    }
    for (const [who, participant] of online) {
      await participant.settle()
      seen.push(...participant.got.splice(0).map(message => messageOf(who, message)))
    }
    all.push(seen)
  }
  for (const participant of online.values()) await participant.drop()
  for (const topic of topics) await publish(topic, 1, true, '')
  await publisher.leave()
  for (let who = 0; who < subscribers; who++) {
    const { participant } = await open(t, place, anna.name, idOf(who), true)
    await participant.leave()
  }
  return all
}
