import { FaultlineError, type TopicKind } from '@faultline/protocol'
import { type DatabaseSync, inTransaction, type StatementSync } from '@faultline/runtime'
import { classOf, type SpoolClass, spoolClasses, Thinning } from './classes.ts'

export interface SpooledMessage {
  /** Grows with every message; never used twice while the agent runs. */
  seq: number
  topic: string
  payload: Buffer
}

export interface NewMessage {
  kind: TopicKind
  topic: string
  payload: Buffer
  /** Says something else than the message before: repetitions are given up first. */
  notable?: boolean
  /** Of an escalation: the lowest is given up first. */
  value?: number
}

export interface SpoolBounds {
  /** Topics and payloads, with a little for the row of each. */
  bytes: number
  /** Share of them that windows for servers may take. */
  escalationShare: number
  /** Time the agent has run since a message was added, in seconds: no clock that is set makes a message old. */
  ageS: number
  /** Deliveries that break the connection: after `shared` of them a message is sent alone, after `all` no more. */
  tries: { shared: number; all: number }
}

export const defaultBounds: SpoolBounds = {
  bytes: 128 * 2 ** 20,
  escalationShare: 0.25,
  ageS: 30 * 86_400,
  tries: { shared: 2, all: 5 },
}

type Row = { seq: number; topic: string; payload: Uint8Array }
type WholeRow = Row & { kind: string; class: SpoolClass; worth: number }
type Victim = { seq: number; bytes: number } | undefined

const rowBytes = 64
const size = `length(topic) + length(payload) + ${rowBytes}`
const bytesOf = ({ topic, payload }: Pick<Row, 'topic' | 'payload'>): number =>
  Buffer.byteLength(topic) + payload.byteLength + rowBytes
const movedAtOnce = 100
const expireEveryMs = 60_000
const givenUpFirst: readonly SpoolClass[] = [spoolClasses.escalation, spoolClasses.inference, spoolClasses.summary]

const statementsOf = (database: DatabaseSync, { tries }: SpoolBounds) => {
  const healthy = `tries < ${tries.shared}`
  const columns = 'SELECT seq, topic, payload FROM messages'
  return {
    insert: database.prepare(
      'INSERT INTO messages (seq, kind, topic, payload, class, worth, at) VALUES (?, ?, ?, ?, ?, ?, ?)',
    ),
    remove: database.prepare('DELETE FROM messages WHERE seq = ?'),
    sizeOf: database.prepare(`SELECT class, ${size} AS bytes FROM messages WHERE seq = ?`),
    results: database.prepare(
      `${columns} WHERE class = ${spoolClasses.result} AND ${healthy} ORDER BY worth, seq LIMIT ?`,
    ),
    reports: database.prepare(
      `${columns} WHERE seq > ? AND seq <= ? AND class IN (${spoolClasses.summary}, ${spoolClasses.inference})
       AND ${healthy} ORDER BY seq LIMIT ?`,
    ),
    escalations: database.prepare(
      `${columns} WHERE class = ${spoolClasses.escalation} AND ${healthy} ORDER BY worth DESC, seq DESC LIMIT ?`,
    ),
    suspects: database.prepare(
      `${columns} WHERE tries >= ${tries.shared} AND tries < ${tries.all} ORDER BY tries, seq LIMIT ?`,
    ),
    setAside: database.prepare(`SELECT count(*) AS rows FROM messages WHERE tries >= ${tries.all}`),
    tried: database.prepare('UPDATE messages SET tries = tries + 1 WHERE seq = ? RETURNING tries'),
    leastWorth: database.prepare(
      `SELECT seq, ${size} AS bytes FROM messages WHERE class = ? ORDER BY worth, seq LIMIT 1`,
    ),
    all: database.prepare('SELECT seq, kind, topic, payload, class, worth FROM messages ORDER BY seq LIMIT ?'),
    oldest: database.prepare(
      `SELECT seq, class, at, ${size} AS bytes FROM messages WHERE class > ${spoolClasses.result} ORDER BY seq LIMIT 1`,
    ),
  } satisfies Record<string, StatementSync>
}

/** What an outbox needs of what waits. */
export type WaitingMessages = Pick<
  Spool,
  | 'size'
  | 'lastSeq'
  | 'dropped'
  | 'add'
  | 'results'
  | 'reports'
  | 'escalations'
  | 'suspects'
  | 'tried'
  | 'acknowledge'
  | 'flush'
>

/** What a transaction does to the counts, once it is committed. */
class Change {
  rows = 0
  bytes = 0
  escalationBytes = 0
  results = 0
  dropped = 0
  readonly removed: number[] = []

  resize(group: number, rows: 1 | -1, bytes: number): void {
    this.rows += rows
    this.bytes += rows * bytes
    if (group === spoolClasses.escalation) this.escalationBytes += rows * bytes
    if (group === spoolClasses.result) this.results += rows
  }
}

/**
 * Messages that the broker has not acknowledged, on disk. Bounded by bytes and age; results of commands are never given
 * up, escalations go by value, inferences and summaries thin out.
 *
 * An acknowledged message is deleted in the transaction of the next one added, which halves the writes to a Pi's card.
 * After a crash the few that were still to be deleted are sent again; receivers know an inference by its id. The results of
 * commands are on the disk when `add` returns; a power cut, not a crash, can take the last seconds of everything else.
 */
export class Spool {
  private readonly database: DatabaseSync
  private readonly bounds: SpoolBounds
  private readonly clock: () => number
  private readonly statements: ReturnType<typeof statementsOf>
  private readonly acknowledged = new Set<number>()
  private readonly thinning = new Thinning()
  private rows: number
  private bytes: number
  private escalationBytes: number
  private resultRows: number
  private newest: number
  private droppedCount = 0
  /** Time the agent has run, as the newest message has it, less the clock. */
  private readonly ranBefore: number
  private expiredAt: number

  /**
   * @param clock Time that nobody sets, in ms.
   */
  constructor(database: DatabaseSync, bounds: Partial<SpoolBounds> = {}, clock = () => performance.now()) {
    this.database = database
    this.bounds = { ...defaultBounds, ...bounds }
    this.clock = clock
    this.statements = statementsOf(database, this.bounds)
    const found = database
      .prepare(
        `SELECT count(*) AS rows, max(seq) AS newest, coalesce(max(at), 0) AS ran, coalesce(sum(${size}), 0) AS bytes,
         coalesce(sum(iif(class = ${spoolClasses.escalation}, ${size}, 0)), 0) AS escalationBytes,
         coalesce(sum(class = ${spoolClasses.result}), 0) AS results FROM messages`,
      )
      .get() as Record<'rows' | 'ran' | 'bytes' | 'escalationBytes' | 'results', number> & { newest: number | null }
    this.rows = found.rows
    this.bytes = found.bytes
    this.escalationBytes = found.escalationBytes
    this.resultRows = found.results
    this.newest = found.newest ?? 0
    this.ranBefore = found.ran - clock()
    this.expiredAt = clock()
  }

  /** Messages waiting, those set aside among them. */
  get size(): number {
    return this.rows - this.acknowledged.size
  }

  /** Of them, those that are not sent any more. Throws `DATABASE_FAILED`. */
  get setAside(): number {
    return (this.guard(() => this.statements.setAside.get()) as { rows: number }).rows
  }

  /** Of the newest message there ever was. */
  get lastSeq(): number {
    return this.newest
  }

  /** Messages given up because the spool was full or they too old, since it was opened. One under way may have arrived. */
  get dropped(): number {
    return this.droppedCount
  }

  /** Under the next number, or a higher one. Throws `DATABASE_FAILED`, for example when the disk is full. */
  add({ kind, topic, payload, notable = false, value }: NewMessage, seq = this.newest + 1): void {
    const group = classOf(kind)
    const worth = group === spoolClasses.result ? 0 : (value ?? this.thinning.worthOf(topic, notable))
    this.insert({ seq, kind, topic, payload, class: group, worth })
  }

  /** Moves what waits to another spool, oldest first and under its number. Throws `DATABASE_FAILED`; what was moved stays there. */
  moveTo(other: Spool): void {
    this.flush()
    for (;;) {
      const rows = this.guard(() => this.statements.all.all(movedAtOnce)) as WholeRow[]
      if (rows.length === 0) return
      for (const row of rows) {
        other.insert(row)
        this.write(change => this.remove(row.seq, row.class, bytesOf(row), change))
      }
    }
  }

  private insert({ seq, kind, topic, payload, class: group, worth }: WholeRow): void {
    const at = Math.round(this.ranBefore + this.clock())
    const write = (change: Change) => {
      this.removeAcknowledged(change)
      this.expire(change)
      this.statements.insert.run(seq, kind, topic, payload, group, worth, at)
      change.resize(group, 1, bytesOf({ topic, payload }))
      this.makeRoom(change)
    }
    if (group === spoolClasses.result) this.throughToDisk(() => this.write(write))
    else this.write(write)
    this.newest = Math.max(this.newest, seq)
  }

  /** Results of commands that wait, oldest first. This and the next ones throw `DATABASE_FAILED`. */
  results(limit: number): SpooledMessage[] {
    return this.resultRows === 0 ? [] : this.messages(limit, rows => this.statements.results.all(rows))
  }

  /** Inferences and summaries after one message and up to another, oldest first. */
  reports(after: number, upTo: number, limit: number): SpooledMessage[] {
    return this.messages(limit, rows => this.statements.reports.all(after, upTo, rows))
  }

  /** Escalations, those of the highest value first. */
  escalations(limit: number): SpooledMessage[] {
    return this.escalationBytes === 0 ? [] : this.messages(limit, rows => this.statements.escalations.all(rows))
  }

  /** Messages with which the connection broke more than once: each may be what broke it. */
  suspects(limit: number): SpooledMessage[] {
    return this.messages(limit, rows => this.statements.suspects.all(rows))
  }

  /** The connection broke while this one was under way. True when that was once too often: it is set aside. */
  tried(seq: number): boolean {
    const row = this.guard(() => this.statements.tried.get(seq)) as { tries: number } | undefined
    return row?.tries === this.bounds.tries.all
  }

  /** The broker has it. */
  acknowledge(seq: number): void {
    // While it was under way the full spool may have given it up.
    if (!this.guard(() => this.statements.sizeOf.get(seq))) return
    this.acknowledged.add(seq)
    // A long spool may empty while nothing new comes; a crash then must not send all of it again. Where the disk does not
    // take that it is not tried with every message.
    if (this.acknowledged.size % 256 === 0) this.flush()
  }

  /** Deletes what was acknowledged. */
  flush(): void {
    if (this.acknowledged.size > 0) this.write(change => this.removeAcknowledged(change))
  }

  private messages(limit: number, query: (rows: number) => unknown[]): SpooledMessage[] {
    const rows = this.guard(() => query(limit + this.acknowledged.size)) as Row[]
    return rows
      .filter(row => !this.acknowledged.has(row.seq))
      .slice(0, limit)
      .map(({ seq, topic, payload }) => ({ seq, topic, payload: Buffer.from(payload) }))
  }

  private guard<T>(work: () => T): T {
    try {
      return work()
    } catch (cause) {
      throw new FaultlineError('DATABASE_FAILED', `spool: ${(cause as Error).message}`, { cause })
    }
  }

  private write(work: (change: Change) => void): void {
    const change = new Change()
    this.guard(() => inTransaction(this.database, () => work(change)))
    this.rows += change.rows
    this.bytes += change.bytes
    this.escalationBytes += change.escalationBytes
    this.resultRows += change.results
    this.droppedCount += change.dropped
    for (const seq of change.removed) this.acknowledged.delete(seq)
  }

  private throughToDisk(work: () => void): void {
    this.guard(() => this.database.exec('PRAGMA synchronous = FULL'))
    try {
      work()
    } finally {
      this.database.exec('PRAGMA synchronous = NORMAL')
    }
  }

  private removeAcknowledged(change: Change): void {
    for (const seq of this.acknowledged) {
      const found = this.statements.sizeOf.get(seq) as { class: number; bytes: number } | undefined
      if (found) this.remove(seq, found.class, found.bytes, change)
      change.removed.push(seq)
    }
  }

  private expire(change: Change): void {
    if (this.clock() - this.expiredAt < expireEveryMs) return
    this.expiredAt = this.clock()
    const oldestKept = this.ranBefore + this.clock() - this.bounds.ageS * 1_000
    for (;;) {
      const found = this.statements.oldest.get() as
        | { seq: number; class: number; at: number; bytes: number }
        | undefined
      if (!found || found.at >= oldestKept) return
      this.giveUp(found, found.class, change)
    }
  }

  /** Gives up what is worth least, the message just added among it, until the rest fits. */
  private makeRoom(change: Change): void {
    const { bytes, escalationShare } = this.bounds
    const { escalation } = spoolClasses
    while (this.escalationBytes + change.escalationBytes > bytes * escalationShare) {
      if (!this.giveUpOne(escalation, change)) break
    }
    for (const group of givenUpFirst) {
      while (this.bytes + change.bytes > bytes && this.giveUpOne(group, change));
    }
  }

  private giveUpOne(group: SpoolClass, change: Change): boolean {
    const victim = this.statements.leastWorth.get(group) as Victim
    if (victim) this.giveUp(victim, group, change)
    return victim !== undefined
  }

  private giveUp({ seq, bytes }: { seq: number; bytes: number }, group: number, change: Change): void {
    this.remove(seq, group, bytes, change)
    change.removed.push(seq)
    change.dropped++
  }

  private remove(seq: number, group: number, bytes: number, change: Change): void {
    this.statements.remove.run(seq)
    change.resize(group, -1, bytes)
  }
}
