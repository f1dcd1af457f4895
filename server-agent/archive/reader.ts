import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { type DatabaseSync, inTransaction, openDatabase } from '@faultline/runtime'
import { indexFile } from './archive.ts'
import { type Kept, migrations, type OtherAnswer } from './catalogue.ts'
import { decodeHardWindow, type HardWindow } from './hard-window.ts'
import { type Position, Segments } from './segments.ts'

/** A window of an archive without its samples. */
export interface ArchivedWindow extends Position {
  seq: number
  id: string
  site: string
  device: string
  point: string
  machine: string
  task: string
  /** When its samples end, by the clock of the device; ISO 8601. */
  at: string
  /** When it came, by the clock of the server. */
  receivedAt: string
  reason: string
  local: { label: string; confidence: number | null; model: string }
  server: { label: string; confidence: number; model: string; classes: readonly string[] | undefined }
  /** Of the model that was asked in shadow. */
  shadow: Answer | undefined
  /** Of the servers above, where they were asked for a second opinion. */
  upstream: Answer | undefined
  human: { label: string; by: string; at: string } | undefined
  features: Record<string, number>
  kept: Kept
}

export interface Answer {
  label: string
  confidence: number
  /** As `name:version`. */
  model: string
}

export interface HumanLabel {
  label: string
  by: string
  /** ISO 8601. */
  at: string
}

interface Row extends Position {
  seq: number
  id: string
  site: string
  device: string
  point: string
  machine: string
  task: string
  at: string
  received: number
  reason: string
  features: string
  kept: Kept
  local_label: string
  local_confidence: number | null
  local_model: string
  server_label: string
  server_confidence: number
  server_model: string
  classes: string | null
  shadow_label: string | null
  shadow_confidence: number
  shadow_model: string
  upstream_label: string | null
  upstream_confidence: number
  upstream_model: string
  human_label: string | null
  labelled_by: string
  labelled_at: string
}

type Role = OtherAnswer['role']

const answerColumns = (role: Role): string =>
  `${role}.label AS ${role}_label, ${role}.confidence AS ${role}_confidence,
  ${role}_models.name || ':' || ${role}_models.version AS ${role}_model`

const answerTables = (role: Role): string =>
  `LEFT JOIN answers AS ${role} ON ${role}.window = seq AND ${role}.role = '${role}'
  LEFT JOIN models AS ${role}_models ON ${role}_models.digest = ${role}.model`

const columns = `SELECT seq, id, site, device, windows.point, machine, task, at, received, reason, features, kept, segment, offset, length,
  local_label, local_confidence, local_model, server_label, server_confidence,
  served.name || ':' || served.version AS server_model, served.classes,
  ${answerColumns('shadow')}, ${answerColumns('upstream')},
  labels.label AS human_label, labelled_by, labelled_at
  FROM windows JOIN models AS served ON served.digest = server_model
  ${answerTables('shadow')} ${answerTables('upstream')}
  LEFT JOIN labels ON labels.window = seq`

/** What others than the server agent do with its archive, while it runs or not: read windows, and give them labels. */
export class ArchiveReader {
  readonly directory: string
  private readonly database: DatabaseSync
  private readonly segments: Segments

  private constructor(directory: string, database: DatabaseSync) {
    this.directory = directory
    this.database = database
    this.segments = new Segments(directory)
  }

  /** Throws `ARCHIVE_FAILED` where there is no archive, and `DATABASE_FAILED`. */
  static open(directory: string): ArchiveReader {
    const file = join(directory, indexFile)
    if (!existsSync(file))
      throw new FaultlineError('ARCHIVE_FAILED', `${directory} is no archive: it has no ${indexFile}`)
    return new ArchiveReader(directory, openDatabase(file, migrations))
  }

  /** Its windows, the oldest first; those of one task, where it is named. */
  *windows(task?: string): Generator<ArchivedWindow> {
    const where = task === undefined ? '' : 'WHERE task = ?'
    const rows = this.database.prepare(`${columns} ${where} ORDER BY seq`)
    for (const row of rows.iterate(...(task === undefined ? [] : [task]))) yield windowOf(row as unknown as Row)
  }

  /** The tasks of which it has windows. */
  tasks(): string[] {
    const rows = this.database.prepare('SELECT DISTINCT task FROM windows ORDER BY task').all()
    return rows.map(({ task }) => task as string)
  }

  count(task: string): number {
    return (this.database.prepare('SELECT count(*) AS n FROM windows WHERE task = ?').get(task) as { n: number }).n
  }

  /** The windows with an id: one, unless devices of several sites gave the same. */
  find(id: string): ArchivedWindow[] {
    const rows = this.database.prepare(`${columns} WHERE id = ?`).all(id)
    return rows.map(row => windowOf(row as unknown as Row))
  }

  /** The windows of a machine that came in a time, its end left out; in ms since 1970. */
  during(site: string, machine: string, from: number, to: number): ArchivedWindow[] {
    const rows = this.database.prepare(
      `${columns} WHERE site = ? AND machine = ? AND received >= ? AND received < ? ORDER BY seq`,
    )
    return rows.all(site, machine, from, to).map(row => windowOf(row as unknown as Row))
  }

  /** A window with its samples, where they were kept; undefined for one that is gone or damaged. */
  read(window: ArchivedWindow): HardWindow | undefined {
    const content = this.segments.read(window)
    return content && decodeHardWindow(content)
  }

  /** Gives windows the labels that a person found; one that has a label gets the new one. All or, where it throws, none. */
  label(labels: readonly (HumanLabel & { seq: number })[]): void {
    const statement = this.database.prepare(
      `INSERT INTO labels (window, label, labelled_by, labelled_at) VALUES (?, ?, ?, ?) ON CONFLICT (window) DO UPDATE
       SET label = excluded.label, labelled_by = excluded.labelled_by, labelled_at = excluded.labelled_at`,
    )
    try {
      // What a person has done has to outlive a power cut.
      this.database.exec('PRAGMA synchronous = FULL')
      inTransaction(this.database, () => {
        for (const { seq, label, by, at } of labels) statement.run(seq, label, by, at)
      })
    } catch (thrown) {
      throw toFaultlineError(thrown, 'DATABASE_FAILED', this.directory)
    }
  }

  close(): void {
    this.database.close()
  }
}

function windowOf(row: Row): ArchivedWindow {
  const { seq, id, site, device, point, machine, task, at, reason, kept, segment, offset, length } = row
  return {
    ...{ seq, id, site, device, point, machine, task, at, reason, kept, segment, offset, length },
    receivedAt: new Date(row.received).toISOString(),
    local: { label: row.local_label, confidence: row.local_confidence, model: row.local_model },
    server: {
      label: row.server_label,
      confidence: row.server_confidence,
      model: row.server_model,
      classes: row.classes === null ? undefined : (JSON.parse(row.classes) as string[]),
    },
    shadow: answerOf(row, 'shadow'),
    upstream: answerOf(row, 'upstream'),
    human: row.human_label === null ? undefined : { label: row.human_label, by: row.labelled_by, at: row.labelled_at },
    features: JSON.parse(row.features) as Record<string, number>,
  }
}

function answerOf(row: Row, role: Role): Answer | undefined {
  const label = row[`${role}_label`]
  if (label === null) return undefined
  return { label, confidence: row[`${role}_confidence`], model: row[`${role}_model`] }
}
