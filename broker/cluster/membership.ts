import type { Logger } from '@faultline/runtime'
import type { EndedConnection } from './client-ids.ts'
import { prefix, type RedisLink, readJson } from './redis.ts'

const lookMs = 1_000
/** A broker whose machine vanished is given up after so long; one whose process died, at once. */
const leaseMs = 5_000

/** What one broker says to another. */
export type ClusterMessage =
  /** A message of a group waits for a member of yours. */
  | { kind: 'given'; group: string; client: string; stamp: string }
  /** The same at QoS 0, with the message. */
  | { kind: 'passed'; group: string; client: string; topic: string; payload: string }
  /** Let go of a client id, which has come to me. */
  | { kind: 'release'; client: string; from: string }
  /** It is free, and a connection was ended for that if there is one. */
  | { kind: 'released'; client: string; ended?: EndedConnection | undefined }

export interface MembershipOptions {
  link: RedisLink
  heard(message: ClusterMessage): void
  /** Every now and then. */
  look(): Promise<void>
  /** A broker has died; what is done about it may be done by several at once. */
  died(brokerId: string): Promise<void>
  /** The others may have given this one up. */
  lost(): void
  logger: Logger
}

/**
 * Which brokers there are. One is alive while it listens to its own channel, which Redis ends with its connection, and
 * renews its lease, which a machine without power does not.
 */
export class Membership {
  /** Ids of the other brokers, as of the last look. */
  others: readonly string[] = []
  private readonly options: MembershipOptions
  private timer: NodeJS.Timeout | undefined
  private looking = false
  private renewing = false
  /** When the lease was renewed last, by the monotonic clock; undefined once it has run out. */
  private renewedAt: number | undefined
  /** Until when others may not have renewed their leases either, by the monotonic clock. */
  private graceUntil = 0
  private id = ''

  constructor(options: MembershipOptions) {
    this.options = options
  }

  async start(id: string): Promise<void> {
    this.id = id
    const { link, heard, lost } = this.options
    const channel = link.connection()
    channel.on('message', (_, text) => {
      const message = readJson<ClusterMessage>(text)
      if (message) heard(message)
    })
    await channel.subscribe(`${prefix}broker:${id}`)
    // What was said meanwhile is lost.
    channel.on('ready', lost)
    this.renewedAt = performance.now()
    await link.db.set(`${prefix}alive:${id}`, '1', 'PX', leaseMs)
    await link.db.sadd(`${prefix}brokers`, id)
    this.timer = setInterval(() => {
      this.watchLease()
      this.beat().catch(error => this.options.logger.debug({ error: error.message }, 'cluster heartbeat failed'))
    }, lookMs)
  }

  async stop(): Promise<void> {
    if (!this.timer) return
    clearInterval(this.timer)
    this.timer = undefined
    const { db } = this.options.link
    // Without Redis it is given up by the others when its lease ends.
    await db
      .multi()
      .srem(`${prefix}brokers`, this.id)
      .del(`${prefix}alive:${this.id}`)
      .exec()
      .catch(() => {})
  }

  async isAlive(id: string): Promise<boolean> {
    const { db } = this.options.link
    const channel = `${prefix}broker:${id}`
    const [[, listeners], lease] = await Promise.all([
      db.pubsub('NUMSUB', channel) as Promise<[string, number]>,
      db.exists(`${prefix}alive:${id}`),
    ])
    return Number(listeners) > 0 && lease === 1
  }

  async say(to: string, message: ClusterMessage): Promise<void> {
    await this.options.link.db.publish(`${prefix}broker:${to}`, JSON.stringify(message))
  }

  /** The others give this broker up when its lease runs out, even if it has lost Redis without any sign of it. */
  private watchLease(): void {
    if (this.renewedAt === undefined || performance.now() - this.renewedAt < leaseMs) return
    this.renewedAt = undefined
    this.options.lost()
  }

  /** The lease does not wait for a look, which may take longer than it lasts. */
  private async beat(): Promise<void> {
    if (this.renewing) return
    this.renewing = true
    await this.renew().finally(() => {
      this.renewing = false
    })
    if (this.looking) return
    this.looking = true
    await this.look().finally(() => {
      this.looking = false
    })
  }

  private async renew(): Promise<void> {
    const { link, lost } = this.options
    const began = performance.now()
    // Redis takes this without memory left, too.
    if ((await link.db.pexpire(`${prefix}alive:${this.id}`, leaseMs)) === 0) {
      // Its Redis stood still, or was away, for all.
      this.graceUntil = performance.now() + leaseMs
      await link.db.set(`${prefix}alive:${this.id}`, '1', 'PX', leaseMs)
      await link.db.sadd(`${prefix}brokers`, this.id)
      lost()
    }
    this.renewedAt = began
  }

  private async look(): Promise<void> {
    const { link, look, died } = this.options
    const others = (await link.db.smembers(`${prefix}brokers`)).filter(id => id !== this.id)
    this.others = others
    for (const id of others) {
      if (performance.now() < this.graceUntil || (await this.isAlive(id))) continue
      await died(id)
      await link.db.srem(`${prefix}brokers`, id)
      this.others = this.others.filter(other => other !== id)
    }
    await look()
  }
}
