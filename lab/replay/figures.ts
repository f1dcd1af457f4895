import { ABSENT, percent, whole } from '../report/figures.ts'
import { aligned } from '../report/terminal.ts'
import type { Account, Estimate } from './account.ts'
import { RECORDED, type Replay, type ReplayOptions, type ReplayRow } from './replay.ts'

/** One policy at one price, over one machine or (null) all of them, as `--json` writes it. */
export interface ReplayFigures {
  site: string | null
  machine: string | null
  policy: string
  /** Null where the price on record with each window was taken. */
  price: number | null
  windows: number
  sent: number
  share: number
  /** Null where the size of some window is not on record. */
  bytes: number | null
  audits: number
  unheard: number
  unknowable: number
  missed: Estimate
  wrong: Estimate
  /** Prices paid and wrong answers, in wrong answers. */
  cost: Estimate
  costPerWindow: Estimate
}

export function figuresOf({ rows }: Replay): ReplayFigures[] {
  return rows.map(({ machine, policy, price, account }) => {
    const { windows, sent, audits, unheard, unknowable, missed, wrong } = account
    const cost = mapped(wrong, count => count + account.paid)
    return {
      site: machine?.site ?? null,
      machine: machine?.machine ?? null,
      policy,
      price: price ?? null,
      windows,
      sent,
      share: sent / windows,
      bytes: bytesOf(account),
      audits,
      unheard,
      unknowable,
      missed,
      wrong,
      cost,
      costPerWindow: mapped(cost, sum => sum / windows),
    }
  })
}

const headings = [
  'policy',
  'price',
  'sent',
  'share',
  'bytes',
  'missed faults',
  'wrong answers',
  'cost per window',
  'cost',
  'unheard',
  'unknowable',
]

/** What it rests on, the sums over all machines, then every machine by itself. */
export function replayTable(replay: Replay, { since, until }: Pick<ReplayOptions, 'since' | 'until'>): string {
  const range = `${new Date(since).toISOString()} to ${new Date(until).toISOString()}`
  const parts: string[] = []
  for (const [name, rows] of groupsOf(replay.rows)) {
    const { account } = rows[0]!
    parts.push(
      name ? `${name}: ${whole(account.windows)} windows` : `All machines, ${range}: ${whole(account.windows)} windows`,
      aligned([headings, ...figuresOf({ ...replay, rows }).map(cellsOf)]),
    )
  }
  return `${[...parts, ...notesOf(replay)].join('\n\n')}\n`
}

function groupsOf(rows: readonly ReplayRow[]): Map<string, ReplayRow[]> {
  const groups = new Map<string, ReplayRow[]>()
  for (const row of rows) {
    const name = row.machine ? `${row.machine.site} ${row.machine.machine}` : ''
    groups.set(name, [...(groups.get(name) ?? []), row])
  }
  // One machine is all machines.
  if (groups.size === 2) groups.delete([...groups.keys()].find(name => name !== '')!)
  return groups
}

function cellsOf(row: ReplayFigures): string[] {
  return [
    row.policy,
    row.price === null ? RECORDED : String(row.price),
    whole(row.sent),
    percent(row.share),
    row.bytes === null ? ABSENT : whole(row.bytes),
    ranged(row.missed, 1),
    ranged(row.wrong, 1),
    ranged(row.costPerWindow, 4),
    ranged(row.cost, 1),
    whole(row.unheard),
    whole(row.unknowable),
  ]
}

function notesOf({ rows, summarised }: Replay): string[] {
  const recorded = rows.find(row => row.policy === RECORDED)!.account
  const audits =
    recorded.audits === 0
      ? 'No audits are on record: of accepted windows without a verdict nothing is known.'
      : `${whole(recorded.audits)} of the windows really sent were audits; other policies are replayed without.`
  return [
    `The server is taken for the truth. Brackets: 95 %, for these windows. ${audits}`,
    ...summarised.map(
      ({ site, machine, until }) =>
        `${site} ${machine} is left out: it reported by exception, last seen ${new Date(until).toISOString()}.`,
    ),
  ]
}

const bytesOf = ({ bytes, unmeasured }: Account): number | null => (unmeasured > 0 ? null : bytes)

const mapped = ({ value, low, high }: Estimate, map: (count: number) => number): Estimate => ({
  value: value === null ? null : map(value),
  low: map(low),
  high: map(high),
})

function ranged({ value, low, high }: Estimate, digits: number): string {
  const text = value === null ? '?' : value.toFixed(digits)
  const bounds = [low, high].map(bound => bound.toFixed(digits))
  return value !== null && bounds.every(bound => bound === text) ? text : `${text} (${bounds.join(' to ')})`
}
