import { classificationOf, type LocalResult } from '@faultline/inference'
import { unknownLabel } from '@faultline/protocol'
import { fieldName, type InferenceRow } from '@faultline/telemetry'

/** What is on record of one window: what a policy may look at, what was done, and what came to be known. */
export interface RecordedWindow {
  site: string
  device: string
  machine: string
  time: number
  /** Of the local model. */
  digest: string
  local: LocalResult
  /** False where the probabilities beside the largest were not recorded. */
  complete: boolean
  /** The server's label, taken for the truth; undefined where no verdict is on record. */
  truth: string | undefined
  serverConfidence: number
  /** The policy accepted it, whether or not it was then drawn for an audit. */
  accepted: boolean
  audited: boolean
  /** How likely an audit was, of accepted windows. */
  auditRate: number | undefined
  /** Without a connection, or without bytes in the budget, nobody's policy could have asked. */
  unsendable: boolean
  price: number | undefined
  bytes: number | undefined
}

/** Takes windows out of a history, each with the verdict that came late, where one did. */
export async function* windowsOf(history: AsyncIterable<readonly InferenceRow[]>): AsyncGenerator<RecordedWindow[]> {
  // A revision is dated like the window it revises, so the two are never further apart than one millisecond.
  let waiting: InferenceRow[] = []
  for await (const page of history) {
    const rows = [...waiting, ...page]
    const last = rows.at(-1)?.time
    waiting = rows.filter(row => row.time === last)
    yield merged(rows.slice(0, rows.length - waiting.length))
  }
  yield merged(waiting)
}

function merged(rows: readonly InferenceRow[]): RecordedWindow[] {
  const revisions = new Map(rows.flatMap(row => (row.revises === undefined ? [] : [[row.revises, row] as const])))
  return rows.filter(row => row.revises === undefined).map(row => windowOf(row, revisions.get(row.id)?.server))
}

function windowOf(row: InferenceRow, late: InferenceRow['server']): RecordedWindow {
  const server = row.server ?? late
  const audited = row.reason === 'audit'
  const { local, complete } = localOf(row.local)
  return {
    site: row.site,
    device: row.device,
    machine: row.machine,
    time: row.time,
    digest: row.local.digest,
    local,
    complete,
    truth: server?.label,
    serverConfidence: server?.confidence ?? 1,
    accepted: audited || row.outcome === 'accepted',
    audited,
    auditRate: row.numbers.auditRate,
    unsendable: row.outcome === 'offline' || row.outcome === 'withheld',
    price: row.numbers.price,
    bytes: row.escalationBytes,
  }
}

/** The answer as a policy gets it. Without an answer it is as invalid as it was; classes come in the order of their names. */
function localOf({ label, confidence, probabilities }: InferenceRow['local']): {
  local: LocalResult
  complete: boolean
} {
  if (confidence === null)
    return { local: { label: unknownLabel, confidence: Number.NaN, probabilities: [], classes: [] }, complete: true }
  const names = Object.keys(probabilities).sort()
  if (names.length === 0) {
    // Enough for what looks at the label and its probability alone.
    const local = { label, confidence, probabilities: [confidence, 1 - confidence], classes: [label, ''] }
    return { local, complete: false }
  }
  const classes = names.map(name => (name === fieldName(label) ? label : name))
  return {
    local: { label, confidence, probabilities: names.map(name => probabilities[name]!), classes },
    complete: true,
  }
}

/** The window's answer with its classes in the order of a model; undefined where it has other classes. */
export function ordered({ local, complete }: RecordedWindow, classes: readonly string[]): LocalResult | undefined {
  if (!complete || local.classes.length === 0) return local
  if (local.classes.length !== classes.length) return undefined
  const probabilities = classes.map(name => local.probabilities[local.classes.indexOf(name)])
  if (probabilities.some(probability => probability === undefined)) return undefined
  return {
    ...classificationOf(classes, probabilities as number[]),
    label: local.label,
    confidence: local.confidence,
    classes,
  }
}
