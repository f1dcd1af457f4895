import { FaultlineError, type UpdateOffer } from '@faultline/protocol'
import {
  type DatabaseSync,
  inTransaction,
  openDatabase,
  type Service,
  type StoreKind,
  toDatabaseError,
  versionOf,
} from '@faultline/runtime'
import { osUser } from '../audit-log.ts'
import type { Artifact } from './artifact.ts'
import type { Amount } from './plan.ts'
import type { DeviceRolloutState, RolloutState } from './states.ts'

const migrations = [
  `CREATE TABLE rollouts (
     id TEXT PRIMARY KEY,
     artifact TEXT NOT NULL,
     terms TEXT NOT NULL,
     state TEXT NOT NULL,
     reason TEXT,
     actor TEXT NOT NULL,
     started_at TEXT NOT NULL,
     ended_at TEXT
   ) STRICT;
   CREATE TABLE rollout_devices (
     rollout TEXT NOT NULL REFERENCES rollouts (id),
     name TEXT NOT NULL,
     stage INTEGER NOT NULL,
     state TEXT NOT NULL,
     offered_at TEXT,
     changed_at TEXT NOT NULL,
     detail TEXT,
     PRIMARY KEY (rollout, name)
   ) STRICT, WITHOUT ROWID`,
  `ALTER TABLE rollout_devices ADD COLUMN waited_ms INTEGER NOT NULL DEFAULT 0;
   ALTER TABLE rollouts ADD COLUMN cleared INTEGER NOT NULL DEFAULT 0;
   UPDATE rollouts SET cleared = 1 WHERE state <> 'running';
   CREATE TABLE artifacts (
     digest TEXT PRIMARY KEY,
     artifact TEXT NOT NULL,
     added_at TEXT NOT NULL
   ) STRICT;
   INSERT OR IGNORE INTO artifacts (digest, artifact, added_at)
     SELECT artifact ->> '$.digest', artifact, started_at FROM rollouts ORDER BY started_at DESC`,
]

export const rolloutDatabase: StoreKind = {
  name: 'rollouts',
  // Those of the first version, whose files are told by them, too.
  tables: ['rollouts', 'rollout_devices'],
  migrations,
  reversals: {
    // The version before knows no pause; its rollouts run only while a person has them run.
    2: `UPDATE rollouts SET state = 'running' WHERE state = 'paused';
        ALTER TABLE rollout_devices DROP COLUMN waited_ms;
        ALTER TABLE rollouts DROP COLUMN cleared;
        DROP TABLE artifacts`,
  },
  counts: {
    rollouts: 'SELECT count(*) FROM rollouts',
    'running rollouts': "SELECT count(*) FROM rollouts WHERE state IN ('running', 'paused')",
  },
}

/** On what a rollout goes on, and on what it stops. */
export interface Terms {
  probation: UpdateOffer['probation']
  /** More failed devices than this stop it: a count of all, or a share of the group under way. */
  maxFailures: Amount
  /** Share of a group, in per cent, that has to run the new version before the next group begins. */
  advanceAt: number
  /** From offer to the end of probation, while what runs the rollout is connected; a device that takes longer is lost. */
  lostAfterMs: number
}

export interface Rollout {
  id: string
  artifact: Artifact
  terms: Terms
  state: RolloutState
  reason?: string
  actor: string
  startedAt: string
  endedAt?: string
  /** Nothing that it offered stands at the broker any more. */
  cleared: boolean
}

export interface RolloutDevice {
  /** `devices/{site}/{device}` */
  name: string
  /** Of the group, from 0. */
  group: number
  state: DeviceRolloutState
  offeredAt?: string
  changedAt: string
  /** How long it has been under way, by a clock that nobody sets: time counts while what runs the rollout is connected. */
  waitedMs: number
  detail?: string
}

/**
 * The rollouts of a fleet, in a SQLite file of their own beside the registry: brokers look at every change of the registry, and a
 * rollout changes with every step of every device. Failures of the file throw `DATABASE_FAILED`.
 */
export class RolloutStore implements Service {
  private readonly path: string
  private open: DatabaseSync | undefined

  constructor(path: string) {
    this.path = path
  }

  /** Throws `DATABASE_FAILED`. */
  async start(): Promise<void> {
    this.open = openDatabase(this.path, migrations)
  }

  async stop(): Promise<void> {
    this.open?.close()
    this.open = undefined
  }

  /** Throws `ROLLOUT_INVALID` where another rollout is under way for one of the devices: offers would take turns. */
  create(
    id: string,
    artifact: Artifact,
    terms: Terms,
    groups: readonly (readonly string[])[],
    actor: string = osUser(),
  ): void {
    const now = new Date().toISOString()
    this.change(database => {
      if (database.prepare('SELECT 1 FROM rollouts WHERE id = ?').get(id))
        throw new FaultlineError('ROLLOUT_INVALID', `there is a rollout ${id} already`)
      for (const name of groups.flat()) checkFree(database, name)
      database
        .prepare('INSERT INTO rollouts (id, artifact, terms, state, actor, started_at) VALUES (?, ?, ?, ?, ?, ?)')
        .run(id, JSON.stringify(artifact), JSON.stringify(terms), 'running', actor, now)
      const insert = database.prepare(
        'INSERT INTO rollout_devices (rollout, name, stage, state, changed_at) VALUES (?, ?, ?, ?, ?)',
      )
      for (const [group, names] of groups.entries())
        for (const name of names) insert.run(id, name, group, 'waiting', now)
    })
  }

  /** Keeps what can be rolled out. */
  add(artifact: Artifact): void {
    const insert = `INSERT INTO artifacts (digest, artifact, added_at) VALUES (?, ?, ?)
      ON CONFLICT (digest) DO UPDATE SET artifact = excluded.artifact, added_at = excluded.added_at`
    const now = new Date().toISOString()
    this.use(database => database.prepare(insert).run(artifact.digest, JSON.stringify(artifact), now))
  }

  /** What can be rolled out, newest first. */
  artifacts(): Artifact[] {
    const query = 'SELECT artifact FROM artifacts ORDER BY added_at DESC, digest'
    const rows = this.use(database => database.prepare(query).all()) as { artifact: string }[]
    return rows.map(({ artifact }) => JSON.parse(artifact) as Artifact)
  }

  /** Ids of the rollouts that there is something to do for: those not over, and those whose offers still stand. */
  unfinished(): string[] {
    const query = "SELECT id FROM rollouts WHERE state IN ('running', 'paused') OR cleared = 0 ORDER BY started_at, id"
    return (this.use(database => database.prepare(query).all()) as { id: string }[]).map(({ id }) => id)
  }

  /** Another text after every change to the rollouts, by whichever process. */
  version(): string {
    return this.use(versionOf)
  }

  /** Newest first. */
  list(): Rollout[] {
    const rows = this.use(database => database.prepare('SELECT * FROM rollouts ORDER BY started_at DESC, id').all())
    return (rows as unknown as RolloutRow[]).map(rolloutOf)
  }

  /** Throws `ROLLOUT_UNKNOWN`. */
  show(id: string): Rollout {
    const row = this.use(database => database.prepare('SELECT * FROM rollouts WHERE id = ?').get(id))
    if (row) return rolloutOf(row as unknown as RolloutRow)
    throw new FaultlineError('ROLLOUT_UNKNOWN', `there is no rollout "${id}"`)
  }

  /** By group and name. */
  devices(id: string): RolloutDevice[] {
    const query = 'SELECT * FROM rollout_devices WHERE rollout = ? ORDER BY stage, name'
    const rows = this.use(database => database.prepare(query).all(id))
    return (rows as unknown as DeviceRow[]).map(deviceOf)
  }

  /** Notes a device's state. `offered` counts from the first time. */
  note(id: string, name: string, state: DeviceRolloutState, detail?: string): void {
    const now = new Date().toISOString()
    const update = `UPDATE rollout_devices SET state = ?1, changed_at = ?2, detail = ?3,
        offered_at = iif(?1 = 'offered', ifnull(offered_at, ?2), offered_at)
      WHERE rollout = ?4 AND name = ?5`
    this.use(database => database.prepare(update).run(state, now, detail ?? null, id, name))
  }

  /** Adds to the time that the devices of a rollout that are under way have taken. */
  wait(id: string, ms: number): void {
    const update = `UPDATE rollout_devices SET waited_ms = waited_ms + ? WHERE rollout = ?
      AND state NOT IN ('waiting', 'succeeded', 'failed', 'rolled-back', 'lost', 'withdrawn')`
    this.use(database => database.prepare(update).run(Math.round(ms), id))
  }

  /** From one state to the other: false where it is in neither of those. */
  turn(id: string, from: RolloutState, to: 'running' | 'paused', reason?: string): boolean {
    const update = 'UPDATE rollouts SET state = ?, reason = ? WHERE id = ? AND state = ?'
    return this.use(database => database.prepare(update).run(to, reason ?? null, id, from)).changes > 0
  }

  /** Ends a rollout, once: false where it had ended before. */
  end(id: string, state: 'done' | 'aborted', reason?: string): boolean {
    const update = `UPDATE rollouts SET state = ?, reason = ?, ended_at = ?
      WHERE id = ? AND state IN ('running', 'paused')`
    const now = new Date().toISOString()
    const { changes } = this.use(database => database.prepare(update).run(state, reason ?? null, now, id))
    return changes > 0
  }

  /** Nothing that a rollout offered stands at the broker any more. */
  clear(id: string): void {
    this.use(database => database.prepare('UPDATE rollouts SET cleared = 1 WHERE id = ?').run(id))
  }

  private use<T>(work: (database: DatabaseSync) => T): T {
    if (!this.open) throw new FaultlineError('DATABASE_FAILED', `${this.path} is not open`)
    try {
      return work(this.open)
    } catch (thrown) {
      throw toDatabaseError(thrown, this.path)
    }
  }

  private change<T>(work: (database: DatabaseSync) => T): T {
    return this.use(database => inTransaction(database, () => work(database)))
  }
}

function checkFree(database: DatabaseSync, name: string): void {
  const row = database
    .prepare(
      `SELECT rollouts.id FROM rollout_devices JOIN rollouts ON rollouts.id = rollout
       WHERE name = ? AND rollouts.state IN ('running', 'paused')`,
    )
    .get(name) as { id: string } | undefined
  if (row) throw new FaultlineError('ROLLOUT_INVALID', `${name} is in the rollout ${row.id}, which is not over`)
}

interface RolloutRow {
  id: string
  artifact: string
  terms: string
  state: string
  reason: string | null
  actor: string
  started_at: string
  ended_at: string | null
  cleared: number
}

interface DeviceRow {
  name: string
  stage: number
  state: string
  offered_at: string | null
  changed_at: string
  waited_ms: number
  detail: string | null
}

const rolloutOf = (row: RolloutRow): Rollout => ({
  id: row.id,
  artifact: JSON.parse(row.artifact) as Artifact,
  terms: JSON.parse(row.terms) as Terms,
  state: row.state as RolloutState,
  ...(row.reason !== null && { reason: row.reason }),
  actor: row.actor,
  startedAt: row.started_at,
  ...(row.ended_at !== null && { endedAt: row.ended_at }),
  cleared: row.cleared === 1,
})

const deviceOf = (row: DeviceRow): RolloutDevice => ({
  name: row.name,
  group: row.stage,
  state: row.state as DeviceRolloutState,
  ...(row.offered_at !== null && { offeredAt: row.offered_at }),
  changedAt: row.changed_at,
  waitedMs: row.waited_ms,
  ...(row.detail !== null && { detail: row.detail }),
})
