import { Random } from '@faultline/inference'
import { type Identity, identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import type { Account, Client } from './client.ts'
import { Publisher } from './publisher.ts'
import type { KindReport } from './report.ts'
import { Subscriber, type SubscriberOptions } from './subscriber.ts'
import { Tally } from './tally.ts'

const device = (name: string): Identity => identityOf('device', 'plant-a', name)
const operator = identityOf('operator', 'anna')
const servers = [identityOf('server', 'gpu-1'), identityOf('server', 'gpu-2')]

/** What one device publishes. */
interface Stream {
  device: Identity
  topic: string
  qos: 1 | 2
  /** Messages in a second. */
  rate: number
}

const stream = (name: string, kind: 'inference' | 'escalation', qos: 1 | 2, rate: number): Stream => ({
  device: device(name),
  topic: `faultline/v1/${device(name).name}/points/p/${kind}`,
  qos,
  rate,
})

const streams = {
  atLeastOnce: stream('press-1', 'inference', 1, 300),
  exactlyOnce: stream('press-2', 'inference', 2, 200),
  escalations: stream('press-3', 'escalation', 1, 200),
}

interface Kind {
  name: string
  publisher: Publisher
  exactlyOnce: boolean
  tallies: Tally[]
}

/** Mean time until a subscriber ends its connection, and the longest it stays away then, in ms. */
const rarely = { everyMs: 2_000, maxMs: 1_500 }
const often = { everyMs: 600, maxMs: 1_500 }
const mostly = { everyMs: 500, maxMs: 4_000 }

/** Publishers and subscribers of every kind for which the broker promises something, and who has got what. */
export class Traffic {
  private readonly secrets = new Map<string, string>()
  private readonly seed: number
  private readonly port: () => number
  private readonly publishers: Publisher[] = []
  private readonly subscribers: Subscriber[] = []
  private readonly kinds: Kind[] = []

  constructor(seed: number, port: () => number) {
    this.seed = seed
    this.port = port
  }

  /** Writes the registry that the broker reads, and makes the clients that are in it. */
  async enroll(file: string): Promise<void> {
    const registry = new Registry(file)
    await registry.start()
    const identities = [...Object.values(streams).map(({ device }) => device), operator, ...servers]
    for (const identity of identities) this.secrets.set(identity.name, (await registry.enroll(identity)).secret)
    await registry.stop()
    const [atLeastOnce, exactlyOnce, escalations] = Object.values(streams).map(each => this.publisher(each))
    this.addSessions('QoS 1, stored sessions', streams.atLeastOnce, atLeastOnce!)
    this.addSessions('QoS 2, stored sessions', streams.exactlyOnce, exactlyOnce!)
    this.addGroup('QoS 1, group of stored sessions', streams.atLeastOnce, atLeastOnce!)
    this.addGroup('QoS 2, group of stored sessions', streams.exactlyOnce, exactlyOnce!)
    this.addCleanGroup('QoS 1, group of clean sessions', streams.escalations, escalations!)
  }

  /**
   * Runs work while the clients run, from when all have subscribed. Rejects as well when a client meets what it must not; the
   * work is to end when `stopping` says so.
   */
  async during(work: () => Promise<void>, stopping: AbortController): Promise<void> {
    const clients: Client[] = [...this.subscribers, ...this.publishers]
    const { signal } = stopping
    const stopped = new Promise<void>(resolve => signal.addEventListener('abort', () => resolve()))
    let working = Promise.resolve()
    try {
      const running = this.subscribers.map(subscriber => subscriber.start())
      await Promise.race([Promise.all(this.subscribers.map(({ subscribed }) => subscribed)), stopped, ...running])
      if (signal.aborted) return
      running.push(...this.publishers.map(publisher => publisher.start()))
      working = work()
      await Promise.race([working, ...running])
    } finally {
      stopping.abort()
      await working.catch(() => {}) // Heard of above.
      await Promise.all(clients.map(client => client.stop()))
    }
  }

  /** Messages that the broker has acknowledged so far. */
  get acknowledged(): number {
    return this.publishers.reduce((sum, { acknowledged }) => sum + acknowledged.size, 0)
  }

  /** Grows with every message that a subscriber gets. */
  get delivered(): number {
    return this.kinds.flatMap(({ tallies }) => tallies).reduce((sum, { deliveries }) => sum + deliveries, 0)
  }

  /** Whether all that was published is acknowledged and has arrived. */
  get settled(): boolean {
    return this.report().every(({ lost, unanswered }) => lost.length === 0 && unanswered === 0)
  }

  /** Nothing new is published from here on, and every subscriber is there. */
  finish(): void {
    for (const publisher of this.publishers) publisher.finish()
    for (const subscriber of this.subscribers) subscriber.stay()
  }

  report(): KindReport[] {
    return this.kinds.map(({ name, publisher, tallies, exactlyOnce }) => ({
      kind: name,
      acknowledged: publisher.acknowledged.size,
      lost: tallies.flatMap(tally => tally.missing(publisher.acknowledged)),
      twice: exactlyOnce ? tallies.flatMap(tally => tally.repeated()) : undefined,
      unanswered: publisher.unanswered,
    }))
  }

  /** Each session is to have everything. */
  private addSessions(name: string, { topic, qos }: Stream, publisher: Publisher): void {
    const tallies = [undefined, rarely, mostly].map(absences => {
      const tally = new Tally()
      this.subscribe({ filter: topic, qos, tally, clean: false }, this.tool(), absences)
      return tally
    })
    this.kinds.push({ name, publisher, tallies, exactlyOnce: qos === 2 })
  }

  /** The members are to have everything together. */
  private addGroup(name: string, { topic, qos }: Stream, publisher: Publisher): void {
    const tally = new Tally()
    for (const absences of [rarely, often]) {
      this.subscribe({ filter: `$share/stored-${qos}/${topic}`, qos, tally, clean: false }, this.tool(), absences)
    }
    this.kinds.push({ name, publisher, tallies: [tally], exactlyOnce: qos === 2 })
  }

  /** As server agents are members. */
  private addCleanGroup(name: string, { topic, qos }: Stream, publisher: Publisher): void {
    const tally = new Tally()
    for (const server of servers) {
      this.subscribe({ filter: `$share/servers/${topic}`, qos, tally, clean: true }, this.account(server), often)
    }
    this.kinds.push({ name, publisher, tallies: [tally], exactlyOnce: false })
  }

  private publisher({ device, topic, qos, rate }: Stream): Publisher {
    const publisher = new Publisher({ account: this.account(device), clean: false, port: this.port, topic, qos, rate })
    this.publishers.push(publisher)
    return publisher
  }

  private subscribe(
    options: Pick<SubscriberOptions, 'filter' | 'qos' | 'tally' | 'clean'>,
    account: Account,
    absences?: typeof rarely,
  ): void {
    const random = new Random(this.seed * 1_000 + this.subscribers.length)
    const more = absences && { absences: { ...absences, random } }
    this.subscribers.push(new Subscriber({ ...options, account, port: this.port, ...more }))
  }

  /** An operator may have several sessions. */
  private tool(): Account {
    return this.account(operator, `${operator.name}/${this.subscribers.length}`)
  }

  private account({ name }: Identity, clientId = name): Account {
    return { clientId, username: name, password: this.secrets.get(name)! }
  }
}
