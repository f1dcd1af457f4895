import { FaultlineError, parseTopic, type TopicAddress, toFaultlineError, topicOf } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { asBacklog } from './backlog.ts'
import { IdleSignal } from './idle.ts'
import { Pace } from './pace.ts'
import type { NewMessage, SpooledMessage, WaitingMessages } from './spool.ts'

/** The part of the session the outbox needs. */
export interface Publisher {
  readonly online: boolean
  publishRaw(address: TopicAddress, payload: Buffer): Promise<void>
}

export interface OutboxOptions {
  spool: WaitingMessages
  publisher: Publisher
  logger: Logger
  /** Messages that may wait for their acknowledgement at once. */
  inFlight?: number
  /** How a backlog is sent: so many at once, then so many a second. */
  backlog?: { atOnce: number; perSecond: number }
  /** How long a connection lasts before a message that may have broken others is sent over it, alone. */
  suspectAfterMs?: number
}

/** What was there before a connection, and whether it is sent later than what is new. */
interface Connection {
  backlogUpTo: number
  overtaken: boolean
  /** All reports of the backlog have been handed to the publisher. */
  sentBacklog: boolean
}

type Cursor = 'live' | 'backlog'

/** Nobody waits longer than that for the acknowledgement of a message that is sent alone. */
const aloneMs = 10_000

/**
 * What must arrive: written to the spool, sent, and gone when the broker has it. With a connection, results of commands
 * go first, then what happens now, then at a pace that a returning site does not drown the broker with what has waited:
 * reports in their order, then escalations, the most valuable first. A backlog that goes at once goes before anything new.
 */
export class Outbox {
  private readonly options: Required<OutboxOptions>
  private readonly inFlight = new Set<number>()
  private readonly idleSignal = new IdleSignal()
  private readonly pace: Pace
  private connection: Connection | undefined
  /** Reports up to these have been handed to the publisher. */
  private readonly cursors = { live: 0, backlog: 0 }
  private alone: 'no' | 'wanted' | 'under-way' = 'no'
  private readonly timers: Partial<Record<'pace' | 'suspects', NodeJS.Timeout>> = {}
  private stopped = false
  private closed = false
  private lost = 0

  constructor(options: OutboxOptions) {
    this.options = { inFlight: 20, backlog: { atOnce: 100, perSecond: 25 }, suspectAfterMs: 5_000, ...options }
    this.pace = new Pace(this.options.backlog)
  }

  /** Messages given up: by the spool, and those that could neither be written nor sent. */
  get dropped(): number {
    return this.options.spool.dropped + this.lost
  }

  /** Never throws: a message that cannot be written (a full disk) is sent without, if it can be. */
  send(address: TopicAddress, payload: Buffer, worth: Pick<NewMessage, 'notable' | 'value'> = {}): void {
    const { spool, publisher, logger } = this.options
    try {
      spool.add({ kind: address.kind, topic: topicOf(address), payload, ...worth })
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown)
      logger.error({ code, error: message }, 'message not spooled')
      const lost = () => {
        this.lost++
      }
      // While offline it would wait in memory, and with it all that follow.
      if (publisher.online) publisher.publishRaw(address, payload).catch(lost)
      else lost()
      return
    }
    if (this.isNext(address)) {
      // The usual case, without reading back what was just written.
      this.cursors.live = spool.lastSeq
      this.publish({ seq: spool.lastSeq, topic: topicOf(address), payload }, 'live')
    } else this.pump()
  }

  /** There is a new connection. True when what is new overtakes what has waited. Never throws. */
  connected(): boolean {
    const { spool, backlog, suspectAfterMs } = this.options
    this.disconnected()
    const overtaken = spool.size > backlog.atOnce
    this.connection = { backlogUpTo: spool.lastSeq, overtaken, sentBacklog: false }
    this.cursors.live = spool.lastSeq
    this.cursors.backlog = 0
    this.pace.begin()
    this.timers.suspects = setTimeout(() => {
      this.alone = 'wanted'
      this.pump()
    }, suspectAfterMs)
    this.pump()
    return overtaken
  }

  /** More waits than before: what was not there to be read is sent as well. */
  replenished(): void {
    if (this.connection) this.connected()
  }

  /** The connection is gone; its publisher rejects what was under way. */
  disconnected(): void {
    this.connection = undefined
    this.alone = 'no'
    for (const timer of Object.values(this.timers)) clearTimeout(timer)
  }

  /** Sends what may be sent now. Never throws. */
  pump(): void {
    if (this.stopped || !this.connection || !this.options.publisher.online) return
    try {
      if (this.alone !== 'no') this.tryAlone()
      if (this.alone === 'no') this.sendAll(this.connection)
    } catch (thrown) {
      // The next message or the next connection tries again.
      this.options.logger.error({ error: toFaultlineError(thrown).message }, 'spool not read')
    }
  }

  /** Resolves when nothing waits, or after so long. */
  async drained(timeoutMs: number): Promise<void> {
    if (this.options.spool.size > 0) await this.idleSignal.wait(timeoutMs)
  }

  /** Sends nothing more; what was not acknowledged stays in the spool. */
  stop(): void {
    this.stopped = true
    this.disconnected()
  }

  /** The database is about to close. */
  close(): void {
    this.stop()
    this.closed = true
    this.note(() => this.options.spool.flush())
  }

  /** Whether the message just added is a report, and all before it have been handed to the publisher. */
  private isNext({ kind }: TopicAddress): boolean {
    const { spool, publisher } = this.options
    if (kind !== 'inference' && kind !== 'summary') return false
    const free = this.connection?.sentBacklog && this.alone === 'no' && this.room > 0
    return Boolean(free && publisher.online && !this.stopped && this.cursors.live === spool.lastSeq - 1)
  }

  private get room(): number {
    return this.options.inFlight - this.inFlight.size
  }

  private sendAll(connection: Connection): void {
    const { spool } = this.options
    const { backlogUpTo, overtaken } = connection
    const lanes = {
      results: () => this.each(limit => spool.results(limit + this.inFlight.size)),
      live: () => this.each(limit => spool.reports(this.cursors.live, Number.MAX_SAFE_INTEGER, limit), 'live'),
      backlog: () => {
        if (!connection.sentBacklog) {
          this.paced(limit => {
            const messages = spool.reports(this.cursors.backlog, backlogUpTo, limit)
            connection.sentBacklog = messages.length === 0
            return messages
          }, 'backlog')
        }
        this.paced(limit => spool.escalations(limit + this.inFlight.size))
      },
    }
    lanes.results()
    if (overtaken) lanes.live()
    lanes.backlog()
    if (!overtaken) lanes.live()
  }

  /** Sends as many as there is room for, and says how many. */
  private each(next: (limit: number) => SpooledMessage[], cursor?: Cursor, atMost = Number.POSITIVE_INFINITY): number {
    let sent = 0
    for (;;) {
      const limit = Math.min(this.room, atMost - sent)
      if (limit <= 0) return sent
      const messages = next(limit).filter(({ seq }) => {
        if (cursor) this.cursors[cursor] = seq
        return !this.inFlight.has(seq)
      })
      if (messages.length === 0) return sent
      for (const message of messages.slice(0, limit)) this.publish(message, cursor)
      sent += Math.min(limit, messages.length)
    }
  }

  private paced(next: (limit: number) => SpooledMessage[], cursor?: Cursor): void {
    this.pace.take(this.each(next, cursor, this.pace.granted))
    clearTimeout(this.timers.pace)
    if (this.pace.granted < 1) this.timers.pace = setTimeout(() => this.pump(), this.pace.waitMs)
  }

  /** A message that may be what breaks the connection goes when nothing else is under way, so that one knows. */
  private tryAlone(): void {
    if (this.alone === 'under-way' || this.inFlight.size > 0) return
    const [suspect] = this.options.spool.suspects(1)
    this.alone = suspect ? 'under-way' : 'no'
    if (!suspect) return
    this.publish(suspect, 'backlog')
    this.timers.suspects = setTimeout(() => {
      this.tried(suspect.seq)
      this.alone = 'no'
      this.pump()
    }, aloneMs)
  }

  private publish({ seq, topic, payload }: SpooledMessage, cursor?: Cursor): void {
    const { publisher, spool } = this.options
    const address = parseTopic(topic)
    // A topic from a version that had other topics: nobody would understand it.
    if (!address) {
      this.note(() => spool.acknowledge(seq))
      return
    }
    this.inFlight.add(seq)
    const connection = this.connection
    const late = cursor === 'backlog' && connection?.overtaken
    publisher.publishRaw(address, late ? asBacklog(address, payload) : payload).then(
      () => {
        this.inFlight.delete(seq)
        this.acknowledged(seq)
      },
      thrown => {
        this.inFlight.delete(seq)
        // Again from here, with the next message or connection.
        if (cursor && connection && this.connection === connection) {
          this.cursors[cursor] = Math.min(this.cursors[cursor], seq - 1)
          if (cursor === 'backlog') connection.sentBacklog = false
        }
        this.endAlone('no')
        const unpaid = thrown instanceof FaultlineError && thrown.code === 'BUDGET_EXHAUSTED'
        if (!unpaid && !this.stopped) this.tried(seq)
      },
    )
  }

  private acknowledged(seq: number): void {
    if (this.closed) return
    const { spool } = this.options
    this.note(() => spool.acknowledge(seq))
    this.endAlone('wanted')
    if (this.alone !== 'no' || spool.size > this.inFlight.size) this.pump()
    if (spool.size === 0) this.idleSignal.notify()
  }

  private endAlone(next: 'no' | 'wanted'): void {
    if (this.alone !== 'under-way') return
    clearTimeout(this.timers.suspects)
    this.alone = next
  }

  private tried(seq: number): void {
    const { spool, logger } = this.options
    this.note(() => {
      if (spool.tried(seq)) logger.error({ seq }, 'message set aside: the connection broke with it again and again')
    })
  }

  private note(work: () => void): void {
    try {
      work()
    } catch (thrown) {
      // Some messages will be sent a second time after a restart, which receivers bear.
      this.options.logger.error({ error: toFaultlineError(thrown).message }, 'spool not written')
    }
  }
}
