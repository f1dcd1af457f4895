import { readFile } from 'node:fs/promises'
import { FaultlineError, label as labelSchema, toFaultlineError } from '@faultline/protocol'
import type { ArchivedWindow, ArchiveReader } from '@faultline/server-agent'
import { CsvError, parse } from 'csv-parse/sync'
import { csvLine } from './csv.ts'

/** What a person found: of one window, or of a machine for a time, its end left out (ISO 8601, UTC unless it says otherwise). */
export interface Finding {
  what: { id: string } | { site: string; machine: string; from: string; to: string }
  label: string
  by: string
}

/** So many of the lines that are wrong are told in one go. */
const mostTold = 20

/**
 * Labels the windows that findings are about and gives how many. Where several are about one window, the last counts. Throws `LABELS_INVALID`
 * with every finding that is wrong (no such window, a label that the server model does not have), and `DATABASE_FAILED`;
 * then nothing is labelled in the archive at hand.
 * @param names What each finding is called in messages: `line 3`.
 */
export function applyFindings(
  archives: readonly ArchiveReader[],
  findings: readonly Finding[],
  names: readonly string[],
  at: string,
): number {
  const wrong: string[] = []
  const labels = archives.map(() => new Map<number, { seq: number; label: string; by: string; at: string }>())
  for (const [i, finding] of findings.entries()) {
    const { label, by } = finding
    const found = archives.map(archive => windowsOf(archive, finding))
    const problem = problemOf(finding, found.flat())
    if (problem) wrong.push(`${names[i]}: ${problem}`)
    for (const [k, windows] of found.entries())
      for (const { seq } of windows) labels[k]!.set(seq, { seq, label, by, at })
  }
  if (wrong.length > 0) {
    const more = wrong.length > mostTold ? `; and ${wrong.length - mostTold} more` : ''
    throw new FaultlineError('LABELS_INVALID', `${wrong.slice(0, mostTold).join('; ')}${more}. Nothing was labelled`)
  }
  for (const [k, archive] of archives.entries()) archive.label([...labels[k]!.values()])
  return labels.reduce((sum, { size }) => sum + size, 0)
}

function windowsOf(archive: ArchiveReader, { what }: Finding): ArchivedWindow[] {
  if ('id' in what) return archive.find(what.id)
  const [from, to] = [timeOf(what.from), timeOf(what.to)]
  return from < to ? archive.during(what.site, what.machine, from, to) : []
}

function problemOf({ what, label, by }: Finding, windows: readonly ArchivedWindow[]): string | undefined {
  if (!labelSchema.safeParse(label).success) return `"${label}" is no label`
  if (by === '') return 'who found it is not said'
  if ('from' in what && !(timeOf(what.from) < timeOf(what.to))) return `"${what.from}" to "${what.to}" is no time`
  if (windows.length === 0)
    return 'id' in what
      ? `there is no window "${what.id}"`
      : `there is no window of ${what.site}/${what.machine} from ${what.from} to ${what.to}`
  const strange = windows.find(({ server }) => server.classes && !server.classes.includes(label))
  return strange && `"${label}" is none of ${strange.server.classes!.join(', ')}`
}

/** A day or a time of day, in ms since 1970; NaN for what is neither: `Date.parse` takes `1.3.2026` for a day in January. */
function timeOf(text: string): number {
  const [whole, clock, zone] =
    /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(Z|[+-]\d\d:\d\d)?)?$/.exec(text) ?? []
  return Date.parse(whole === undefined ? '' : `${text.replace(' ', 'T')}${clock && !zone ? 'Z' : ''}`)
}

/**
 * Findings from a CSV file with the columns `label`, and either `id`, or `site`, `machine`, `from` and `to`; `by` unless everybody is
 * the same. Lines without a label are left out, other columns are ignored. Throws `CONFIG_UNREADABLE` and `LABELS_INVALID`.
 */
export async function readFindings(file: string, by = ''): Promise<{ findings: Finding[]; names: string[] }> {
  const text = await readFile(file, 'utf8').catch(cause => {
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE')
  })
  const lines = parseLines(file, text).filter(({ record }) => record.label)
  const findings = lines.map(({ record }): Finding => {
    const { id = '', site = '', machine = '', from = '', to = '', label = '' } = record
    return { what: id ? { id } : { site, machine, from, to }, label, by: record.by || by }
  })
  return { findings, names: lines.map(({ info }) => `line ${info.lines}`) }
}

interface Line {
  record: Record<string, string>
  info: { lines: number }
}

function parseLines(file: string, text: string): Line[] {
  const columns = (names: string[]): string[] => {
    const ofMachine = ['site', 'machine', 'from', 'to'].every(name => names.includes(name))
    if (names.includes('label') && (names.includes('id') || ofMachine)) return names
    throw new FaultlineError(
      'LABELS_INVALID',
      `${file}: line 1: there must be a column label, and a column id or the columns site, machine, from and to`,
    )
  }
  try {
    return parse(text, { bom: true, trim: true, skip_empty_lines: true, info: true, columns }) as unknown as Line[]
  } catch (thrown) {
    if (!(thrown instanceof CsvError)) throw thrown
    const at = typeof thrown.lines === 'number' ? `line ${thrown.lines}: ` : ''
    throw new FaultlineError('LABELS_INVALID', `${file}: ${at}${thrown.message}. Nothing was labelled`)
  }
}

/**
 * The windows that nobody has labelled, as CSV for a person to fill in and give to `readFindings`: first those whose label is worth most,
 * where models contradict each other, then those that the server is least sure of.
 */
export function worklist(archives: readonly ArchiveReader[], limit: number, task?: string): string {
  const open: Omit<ArchivedWindow, 'features'>[] = []
  for (const archive of archives)
    for (const { features: _, ...window } of archive.windows(task)) if (!window.human) open.push(window)
  const contested = ({ server, shadow, upstream }: (typeof open)[number]) =>
    [shadow, upstream].some(other => other && other.label !== server.label)
  open.sort((a, b) => Number(contested(b)) - Number(contested(a)) || a.server.confidence - b.server.confidence)
  const head = [
    'id',
    'label',
    'by',
    'site',
    'machine',
    'point',
    'receivedAt',
    'reason',
    'local',
    'server',
    'serverConfidence',
  ]
  const lines = open
    .slice(0, limit)
    .map(({ id, site, machine, point, receivedAt, reason, local, server, ...others }) =>
      csvLine([
        ...[
          id,
          '',
          '',
          site,
          machine,
          point,
          receivedAt,
          reason,
          local.label,
          server.label,
          server.confidence.toFixed(3),
        ],
        ...[others.shadow?.label, others.upstream?.label, server.classes?.join(' ')],
      ]),
    )
  return [csvLine([...head, 'shadow', 'upstream', 'labels']), ...lines].join('')
}
