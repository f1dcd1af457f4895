import { FaultlineError, type TopicKind } from '@faultline/protocol'
import { type DatabaseSync, inTransaction, type StatementSync } from '@faultline/runtime'

export interface SpooledMessage {
  /** Grows with every message; never used twice while the agent runs. */
  seq: number
  topic: string
  payload: Buffer
}

/**
 * Messages that the broker has not acknowledged, on disk, in order. Bounded by count: when it is full the oldest
 * inference goes first, because summaries and command results are few and nothing else says what they say.
 *
 * An acknowledged message is deleted in the transaction of the next one added, which halves the writes to a Pi's card.
 * After a crash the few that were still to be deleted are sent again; receivers know an inference by its id.
 */
export class Spool {
  private readonly database: DatabaseSync
  private readonly maximum: number
  private readonly statements: Record<
    'insert' | 'remove' | 'waits' | 'after' | 'oldestInference' | 'oldest',
    StatementSync
  >
  private readonly acknowledged = new Set<number>()
  private rows: number
  private lastSeq: number
  private droppedCount = 0

  constructor(database: DatabaseSync, maximum = 100_000) {
    this.database = database
    this.maximum = maximum
    this.statements = {
      insert: database.prepare('INSERT INTO messages (seq, kind, topic, payload) VALUES (?, ?, ?, ?)'),
      remove: database.prepare('DELETE FROM messages WHERE seq = ?'),
      waits: database.prepare('SELECT 1 FROM messages WHERE seq = ?'),
      after: database.prepare('SELECT seq, topic, payload FROM messages WHERE seq > ? ORDER BY seq LIMIT ?'),
      oldestInference: database.prepare("SELECT seq FROM messages WHERE kind = 'inference' ORDER BY seq LIMIT 1"),
      oldest: database.prepare('SELECT seq FROM messages ORDER BY seq LIMIT 1'),
    }
    const { rows, last } = database.prepare('SELECT count(*) AS rows, max(seq) AS last FROM messages').get() as {
      rows: number
      last: number | null
    }
    this.rows = rows
    this.lastSeq = last ?? 0
  }

  /** Messages waiting. */
  get size(): number {
    return this.rows - this.acknowledged.size
  }

  /** Messages given up because the spool was full, since it was opened. One that was under way may have arrived. */
  get dropped(): number {
    return this.droppedCount
  }

  /** Throws `DATABASE_FAILED`, for example when the disk is full. */
  add(kind: TopicKind, topic: string, payload: Buffer): void {
    this.write(() => {
      this.removeAcknowledged()
      while (this.rows >= this.maximum) this.dropOldest()
      this.statements.insert.run(this.lastSeq + 1, kind, topic, payload)
    })
    this.lastSeq++
    this.rows++
  }

  /** The next messages after `seq`, oldest first. Throws `DATABASE_FAILED`. */
  after(seq: number, limit: number): SpooledMessage[] {
    const rows = this.read(() => this.statements.after.all(seq, limit + this.acknowledged.size)) as {
      seq: number
      topic: string
      payload: Uint8Array
    }[]
    return rows
      .filter(row => !this.acknowledged.has(row.seq))
      .slice(0, limit)
      .map(({ seq, topic, payload }) => ({ seq, topic, payload: Buffer.from(payload) }))
  }

  /** The broker has it. Throws `DATABASE_FAILED`. */
  acknowledge(seq: number): void {
    // While it was under way the full spool may have given it up.
    if (!this.waits(seq)) return
    this.acknowledged.add(seq)
    // A long spool may empty while nothing new comes; a crash then must not send all of it again.
    if (this.acknowledged.size >= 256) this.flush()
  }

  /** Deletes what was acknowledged. Throws `DATABASE_FAILED`. */
  flush(): void {
    if (this.acknowledged.size > 0) this.write(() => this.removeAcknowledged())
  }

  private waits(seq: number): boolean {
    return this.read(() => this.statements.waits.get(seq)) !== undefined
  }

  private read<T>(work: () => T): T {
    try {
      return work()
    } catch (cause) {
      throw failed(cause)
    }
  }

  private write(work: () => void): void {
    const before = { rows: this.rows, acknowledged: [...this.acknowledged], dropped: this.droppedCount }
    try {
      inTransaction(this.database, work)
    } catch (cause) {
      this.rows = before.rows
      this.droppedCount = before.dropped
      for (const seq of before.acknowledged) this.acknowledged.add(seq)
      throw failed(cause)
    }
  }

  private removeAcknowledged(): void {
    for (const seq of this.acknowledged) this.rows -= Number(this.statements.remove.run(seq).changes)
    this.acknowledged.clear()
  }

  private dropOldest(): void {
    const oldest = (this.statements.oldestInference.get() ?? this.statements.oldest.get()) as { seq: number }
    this.statements.remove.run(oldest.seq)
    this.rows--
    this.droppedCount++
  }
}

const failed = (cause: unknown): FaultlineError =>
  new FaultlineError('DATABASE_FAILED', `spool: ${(cause as Error).message}`, { cause })
