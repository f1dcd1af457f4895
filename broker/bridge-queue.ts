import { EventEmitter } from 'node:events'
import {
  decodePayload,
  type Escalation,
  parseTopic,
  type TopicAddress,
  toFaultlineError,
  topicFilter,
} from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { AedesPublishPacket } from 'aedes'
import type { Collector } from './collector.ts'
import type { Stamp } from './persistence/persistence.ts'

const prefix = '$bridge/'

/** Whether a session of the persistence is that of a bridge: no client has such an id. */
export const isBridge = (session: string): boolean => session.startsWith(prefix)

export const bridgeSession = (site: string): string => `${prefix}${site}`

type EscalationAddress = Extract<TopicAddress, { kind: 'escalation' }>

/** One that waits, or is under way. Its window is in the store alone. */
export interface WaitingEscalation {
  stamp: Stamp
  bytes: number
  /** When its sender stops waiting for an answer; monotonic, in ms. */
  expiresAt: number
  underWay: boolean
}

/** Why an escalation is not carried: too many wait, its sender waits no longer, or it is none. */
export type BridgeDrop = 'dropped' | 'expired' | 'refused'

export interface BridgeQueueOptions {
  site: string
  collector: Collector
  maxMessages: number
  maxBytes: number
  logger: Logger
}

interface QueueEvents {
  /** There is something to take. */
  arrived: []
  dropped: [reason: BridgeDrop]
}

/**
 * The escalations that wait for the upstream broker, oldest first: in a stored session of the bridge's own, so that one that
 * was acknowledged outlives the broker, and within bounds. How long a sender still waits is counted from when this process
 * saw its escalation first: a restart, or a clock that was set, makes none expire.
 */
export class BridgeQueue extends EventEmitter<QueueEvents> {
  private readonly options: BridgeQueueOptions
  private readonly session: string
  private readonly entries = new Map<string, WaitingEscalation>()
  private bytes = 0

  constructor(options: BridgeQueueOptions) {
    super()
    this.options = options
    this.session = bridgeSession(options.site)
  }

  /** Escalations that wait or are under way. */
  get size(): number {
    return this.entries.size
  }

  /** Begins to collect, and takes up what waited before. */
  async open(): Promise<void> {
    const { site, collector, logger } = this.options
    const filter = topicFilter('upstream-escalation', { site })
    await collector.open(this.session, filter, packet => this.add(packet) && this.emit('arrived'))
    collector.on('missed', () => {
      this.load().catch(thrown => {
        logger.warn({ error: toFaultlineError(thrown).message }, 'reading the queue of the bridge failed')
      })
    })
    await this.load()
  }

  /** The oldest that is not under way and whose sender still waits. It is under way from here on. */
  next(): WaitingEscalation | undefined {
    for (const entry of this.entries.values()) {
      if (entry.underWay) continue
      if (entry.expiresAt <= performance.now()) {
        this.drop(entry, 'expired')
        continue
      }
      entry.underWay = true
      return entry
    }
    return undefined
  }

  /** Undefined for one that a bound of the broker's queues has taken meanwhile. */
  async read({ stamp }: WaitingEscalation): Promise<{ address: EscalationAddress; payload: Escalation } | undefined> {
    const packet = await this.options.collector.find(this.session, stamp)
    if (packet?.cmd !== 'publish') return undefined
    const address = parseTopic(packet.topic)
    if (address?.kind !== 'upstream-escalation') return undefined
    const payload = decodePayload('upstream-escalation', Buffer.from(packet.payload))
    return { address: { ...address, kind: 'escalation' }, payload }
  }

  /** It did not arrive, and waits again in its place. */
  putBack(entry: WaitingEscalation): void {
    entry.underWay = false
  }

  /** It has arrived. Should the store not take the news, it goes again after a restart. */
  remove(entry: WaitingEscalation): void {
    const { collector, logger } = this.options
    if (!this.entries.delete(keyOf(entry.stamp))) return
    this.bytes -= entry.bytes
    collector.remove(this.session, entry.stamp).catch(thrown => {
      logger.warn(
        { error: toFaultlineError(thrown).message },
        'removing an escalation from the queue of the bridge failed',
      )
    })
  }

  /** Drops those whose senders wait no longer. */
  expire(): void {
    const now = performance.now()
    for (const entry of this.entries.values()) {
      if (!entry.underWay && entry.expiresAt <= now) this.drop(entry, 'expired')
    }
  }

  /** Takes up what is stored and not known here. */
  private async load(): Promise<void> {
    let added = false
    for await (const packet of this.options.collector.read(this.session)) {
      if (packet.cmd === 'publish') added = this.add(packet) || added
    }
    if (added) this.emit('arrived')
  }

  /** False for one that is known, or no escalation. */
  private add({ topic, payload, qos, brokerId, brokerCounter }: AedesPublishPacket): boolean {
    const stamp = { brokerId, brokerCounter } as Stamp
    // Of QoS 0 nothing was acknowledged, and nothing is stored.
    if (qos === 0 || this.entries.has(keyOf(stamp))) return false
    const bytes = Buffer.byteLength(topic) + Buffer.byteLength(payload)
    const entry = { stamp, bytes, expiresAt: Number.POSITIVE_INFINITY, underWay: false }
    this.entries.set(keyOf(stamp), entry)
    this.bytes += bytes
    try {
      const { deadline, at } = decodePayload('upstream-escalation', Buffer.from(payload))
      entry.expiresAt = performance.now() + Date.parse(deadline) - Date.parse(at)
    } catch (thrown) {
      this.options.logger.warn(
        { topic, error: toFaultlineError(thrown).message },
        'message for the upstream broker refused',
      )
      this.drop(entry, 'refused')
      return false
    }
    this.shorten()
    return true
  }

  private drop(entry: WaitingEscalation, reason: BridgeDrop): void {
    this.remove(entry)
    this.emit('dropped', reason)
  }

  private shorten(): void {
    const { maxMessages, maxBytes } = this.options
    for (const entry of this.entries.values()) {
      if (this.entries.size <= maxMessages && this.bytes <= maxBytes) return
      if (!entry.underWay) this.drop(entry, 'dropped')
    }
  }
}

const keyOf = ({ brokerId, brokerCounter }: Stamp): string => `${brokerId}:${brokerCounter}`
