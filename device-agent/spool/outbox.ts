import { parseTopic, type TopicAddress, toFaultlineError, topicOf } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { IdleSignal } from './idle.ts'
import type { Spool, SpooledMessage } from './spool.ts'

/** The part of the session the outbox needs. */
export interface Publisher {
  readonly online: boolean
  publishRaw(address: TopicAddress, payload: Buffer): Promise<void>
}

/**
 * What must arrive: written to the spool, then sent in order, a few at a time, so that a device that returns after a day
 * does not drown the broker or its own fresh messages.
 */
export class Outbox {
  private readonly spool: Spool
  private readonly publisher: Publisher
  private readonly logger: Logger
  private readonly window: number
  private readonly inFlight = new Set<number>()
  private readonly idleSignal = new IdleSignal()
  /** Everything up to this message has been handed to the publisher. */
  private cursor = 0
  private stopped = false
  private closed = false

  constructor(spool: Spool, publisher: Publisher, logger: Logger, window = 20) {
    this.spool = spool
    this.publisher = publisher
    this.logger = logger
    this.window = window
  }

  /** Never throws: a message that cannot be written (a full disk) is sent without, if it can be. */
  send(address: TopicAddress, payload: Buffer): void {
    try {
      this.spool.add(address.kind, topicOf(address), payload)
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      this.logger.error({ code: error.code, error: error.message }, 'message not spooled')
      this.publisher.publishRaw(address, payload).catch(() => {}) // It was tried; the log has it.
      return
    }
    this.pump()
  }

  /** Sends what waits; called when the connection is there again. Never throws. */
  pump(): void {
    if (this.stopped || !this.publisher.online) return
    while (this.inFlight.size < this.window) {
      const messages = this.next(this.window - this.inFlight.size)
      if (messages.length === 0) return
      for (const { seq, topic, payload } of messages) {
        this.cursor = seq
        if (this.inFlight.has(seq)) continue
        const address = parseTopic(topic)
        // A topic from a version that had other topics: nobody would understand it.
        if (!address) this.shorten(() => this.spool.acknowledge(seq))
        else void this.publish(seq, address, payload)
      }
    }
  }

  /** Resolves when nothing waits, or after so long. */
  async drained(timeoutMs: number): Promise<void> {
    if (this.spool.size > 0) await this.idleSignal.wait(timeoutMs)
  }

  /** Sends nothing more; what was not acknowledged stays in the spool. */
  stop(): void {
    this.stopped = true
  }

  /** The database is about to close. */
  close(): void {
    this.stopped = true
    this.closed = true
    this.shorten(() => this.spool.flush())
  }

  private next(limit: number): SpooledMessage[] {
    try {
      return this.spool.after(this.cursor, limit)
    } catch (thrown) {
      // The next message or the next connection tries again.
      this.logger.error({ error: toFaultlineError(thrown).message }, 'spool not read')
      return []
    }
  }

  private async publish(seq: number, address: TopicAddress, payload: Buffer): Promise<void> {
    this.inFlight.add(seq)
    try {
      await this.publisher.publishRaw(address, payload)
      this.inFlight.delete(seq)
      this.acknowledged(seq)
    } catch {
      // The connection went before the broker had it: again from here, once it is back.
      this.inFlight.delete(seq)
      this.cursor = Math.min(this.cursor, seq - 1)
    }
  }

  private acknowledged(seq: number): void {
    if (this.closed) return
    this.shorten(() => this.spool.acknowledge(seq))
    this.pump()
    if (this.spool.size === 0) this.idleSignal.notify()
  }

  private shorten(work: () => void): void {
    try {
      work()
    } catch (thrown) {
      // Some messages will be sent a second time after a restart, which receivers bear.
      this.logger.error({ error: toFaultlineError(thrown).message }, 'spool not shortened')
    }
  }
}
