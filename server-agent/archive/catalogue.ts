import { type ModelReference, toFaultlineError } from '@faultline/protocol'
import { type DatabaseSync, openDatabase, type StatementSync, type StoreKind } from '@faultline/runtime'
import type { HardWindow } from './hard-window.ts'
import type { Position } from './segments.ts'

export const migrations = [
  `CREATE TABLE segments (id INTEGER PRIMARY KEY, bytes INTEGER NOT NULL, oldest INTEGER NOT NULL, newest INTEGER NOT NULL) STRICT;
   CREATE TABLE models (digest TEXT PRIMARY KEY, name TEXT NOT NULL, version TEXT NOT NULL, classes TEXT) STRICT;
   CREATE TABLE windows (
     seq INTEGER PRIMARY KEY,
     id TEXT NOT NULL, site TEXT NOT NULL, device TEXT NOT NULL, point TEXT NOT NULL,
     at TEXT NOT NULL, received INTEGER NOT NULL, machine TEXT NOT NULL, task TEXT NOT NULL, reason TEXT NOT NULL,
     local_label TEXT NOT NULL, local_confidence REAL, local_model TEXT NOT NULL,
     server_label TEXT NOT NULL, server_confidence REAL NOT NULL, server_model TEXT NOT NULL,
     features TEXT NOT NULL, kept TEXT NOT NULL,
     segment INTEGER NOT NULL REFERENCES segments, offset INTEGER NOT NULL, length INTEGER NOT NULL,
     UNIQUE (id, site, device, point)) STRICT;
   CREATE INDEX windows_by_segment ON windows (segment);
   CREATE TABLE answers (
     window INTEGER NOT NULL REFERENCES windows ON DELETE CASCADE, role TEXT NOT NULL, model TEXT NOT NULL,
     label TEXT NOT NULL, confidence REAL NOT NULL, PRIMARY KEY (window, role)) STRICT, WITHOUT ROWID;
   CREATE TABLE labels (
     window INTEGER PRIMARY KEY REFERENCES windows ON DELETE CASCADE,
     label TEXT NOT NULL, labelled_by TEXT NOT NULL, labelled_at TEXT NOT NULL) STRICT;
   CREATE TABLE total (windows INTEGER NOT NULL) STRICT;
   INSERT INTO total VALUES (0);
   CREATE TRIGGER window_added AFTER INSERT ON windows BEGIN UPDATE total SET windows = windows + 1; END;
   CREATE TRIGGER window_removed AFTER DELETE ON windows BEGIN UPDATE total SET windows = windows - 1; END`,
  'CREATE TABLE clock (ms INTEGER NOT NULL) STRICT; INSERT INTO clock VALUES (0)',
]

export const archiveDatabase: StoreKind = {
  name: 'index of an archive of hard windows',
  tables: ['segments', 'windows', 'answers', 'labels'],
  migrations,
  reversals: { 2: 'DROP TABLE clock' },
  counts: { windows: 'SELECT windows FROM total', labels: 'SELECT count(*) FROM labels' },
}

export type Kept = 'features' | 'windows'

/** A window as the index knows it. */
export interface IndexedWindow extends Position {
  seq: number
  site: string
  /** In ms since 1970. */
  received: number
  kept: Kept
  labelled: 0 | 1
}

export interface SegmentRow {
  id: number
  bytes: number
  /** When its oldest and its newest window came, in ms since 1970. */
  oldest: number
  newest: number
}

/** What another model said of a window: a shadow, or the servers above this one. */
export interface OtherAnswer extends Pick<HardWindow, 'id' | 'site' | 'device' | 'point'> {
  role: 'shadow' | 'upstream'
  model: ModelReference
  label: string
  confidence: number
}

const indexed = `SELECT seq, site, received, kept, segment, offset, length, labels.window IS NOT NULL AS labelled
  FROM windows LEFT JOIN labels ON labels.window = seq`

const statementsOf = (database: DatabaseSync) =>
  ({
    segment: database.prepare(
      `INSERT INTO segments (id, bytes, oldest, newest) VALUES ($id, $bytes, $at, $at) ON CONFLICT (id) DO UPDATE
       SET bytes = $bytes, oldest = min(oldest, $at), newest = max(newest, $at)`,
    ),
    segments: database.prepare('SELECT id, bytes, oldest, newest FROM segments ORDER BY newest'),
    segmentBytes: database.prepare('SELECT coalesce(sum(bytes), 0) AS bytes FROM segments'),
    resize: database.prepare('UPDATE segments SET bytes = ? WHERE id = ?'),
    removeSegment: database.prepare('DELETE FROM segments WHERE id = ?'),
    model: database.prepare(
      `INSERT INTO models (digest, name, version, classes) VALUES (?, ?, ?, ?)
       ON CONFLICT (digest) DO UPDATE SET classes = coalesce(excluded.classes, classes)`,
    ),
    insert: database.prepare(
      `INSERT OR IGNORE INTO windows (id, site, device, point, at, received, machine, task, reason, local_label,
         local_confidence, local_model, server_label, server_confidence, server_model, features, kept, segment, offset, length)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
    move: database.prepare('UPDATE windows SET segment = ?, offset = ?, length = ?, kept = ? WHERE seq = ?'),
    answer: database.prepare(
      `INSERT OR REPLACE INTO answers (window, role, model, label, confidence)
       SELECT seq, ?, ?, ?, ? FROM windows WHERE id = ? AND site = ? AND device = ? AND point = ?`,
    ),
    inSegment: database.prepare(`${indexed} WHERE segment = ? ORDER BY seq`),
    removeFrom: database.prepare('DELETE FROM windows WHERE segment = ?'),
    removeBeyond: database.prepare('DELETE FROM windows WHERE segment = ? AND offset + length > ?'),
    endOf: database.prepare('SELECT coalesce(max(offset + length), 0) AS "end" FROM windows WHERE segment = ?'),
    sites: database.prepare('SELECT DISTINCT segment, site, kept FROM windows'),
    readClock: database.prepare('SELECT ms FROM clock'),
    saveClock: database.prepare('UPDATE clock SET ms = ?'),
    count: database.prepare(
      `SELECT (SELECT windows FROM total) AS windows, count(*) AS labelled, coalesce(sum(length), 0) AS labelledBytes
       FROM labels JOIN windows ON seq = labels.window`,
    ),
  }) satisfies Record<string, StatementSync>

/** What is in an archive, and where: an SQLite file that can be made anew from the segments, but for answers of other models and labels. */
export class Catalogue {
  readonly database: DatabaseSync
  private readonly statements: ReturnType<typeof statementsOf>

  /** Throws `DATABASE_FAILED`. */
  constructor(file: string) {
    this.database = openDatabase(file, migrations)
    // What may not be kept is overwritten.
    this.database.exec('PRAGMA secure_delete = ON')
    this.statements = statementsOf(this.database)
  }

  segments(): SegmentRow[] {
    return this.statements.segments.all() as unknown as SegmentRow[]
  }

  segmentBytes(): number {
    return (this.statements.segmentBytes.get() as { bytes: number }).bytes
  }

  /** The time by which segments grow old, as it was saved last; 0 in a new archive. */
  readClock(): number {
    return (this.statements.readClock.get() as { ms: number }).ms
  }

  saveClock(ms: number): void {
    this.statements.saveClock.run(ms)
  }

  /** A segment has so many bytes now; its newest window came at a time. */
  setSegment(id: number, bytes: number, at: number): void {
    this.statements.segment.run({ id, bytes, at })
  }

  /** Forgets a segment, and all windows that are still in it. */
  removeSegment(id: number): void {
    this.statements.removeFrom.run(id)
    this.statements.removeSegment.run(id)
  }

  /** False for a window that is there already: MQTT delivers some twice. */
  add(window: HardWindow, { segment, offset, length }: Position): boolean {
    const { id, site, device, point, at, receivedAt, machine, task, reason, local, server, features } = window
    const { digest, name, version } = server.model
    this.statements.model.run(digest, name, version, server.classes ? JSON.stringify(server.classes) : null)
    const { changes } = this.statements.insert.run(
      ...[id, site, device, point, at, Date.parse(receivedAt), machine, task, reason],
      ...[local.label, local.confidence, local.digest, server.label, server.confidence, digest],
      ...[JSON.stringify(features), window.window ? 'windows' : 'features', segment, offset, length],
    )
    return changes > 0
  }

  move(seq: number, { segment, offset, length }: Position, kept: Kept): void {
    this.statements.move.run(segment, offset, length, kept, seq)
  }

  addAnswer({ id, site, device, point, role, model, label, confidence }: OtherAnswer): void {
    this.statements.model.run(model.digest, model.name, model.version, null)
    this.statements.answer.run(role, model.digest, label, confidence, id, site, device, point)
  }

  windowsIn(segment: number): IndexedWindow[] {
    return this.statements.inSegment.all(segment) as unknown as IndexedWindow[]
  }

  /** Forgets windows that lie beyond the end of a segment, and gives the end of the last that does not. */
  shorten(segment: number, bytes: number): number {
    this.statements.removeBeyond.run(segment, bytes)
    return (this.statements.endOf.get(segment) as { end: number }).end
  }

  resize(segment: number, bytes: number): void {
    this.statements.resize.run(bytes, segment)
  }

  /** What is kept of which site, by segment. */
  sites(): { segment: number; site: string; kept: Kept }[] {
    return this.statements.sites.all() as unknown as { segment: number; site: string; kept: Kept }[]
  }

  counts(): { windows: number; labelled: number; labelledBytes: number } {
    return this.statements.count.get() as { windows: number; labelled: number; labelledBytes: number }
  }

  /** What the file takes, without pages that are free again. */
  get bytes(): number {
    const pragma = (name: string): number => {
      try {
        return Number(Object.values(this.database.prepare(`PRAGMA ${name}`).get() ?? {})[0])
      } catch (thrown) {
        throw toFaultlineError(thrown, 'DATABASE_FAILED')
      }
    }
    return (pragma('page_count') - pragma('freelist_count')) * pragma('page_size')
  }

  close(): void {
    this.database.close()
  }
}
