import {
  type BundleDescription,
  classificationOf,
  createPolicy,
  type LocalResult,
  type Policy,
  type PolicyModel,
  type PolicySettings,
  policyNames,
} from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { Place, TelemetryStore } from '@faultline/telemetry'
import { Account } from './account.ts'
import { ordered, type RecordedWindow, windowsOf } from './window.ts'

/** Not a policy: what was really done. */
export const RECORDED = 'recorded'

export interface ReplayPolicy extends PolicySettings {
  /** As it was asked for. */
  title: string
}

export interface ReplayOptions extends Place {
  since: number
  until: number
  policies: readonly ReplayPolicy[]
  /** Prices in the place of the one on record with each window. */
  prices?: readonly number[]
  /** The class that means nothing is wrong. */
  normal: string
  /** Of the local model: threshold, calibration, order of the classes. */
  bundle?: BundleDescription
  /** Of policies that draw lots. */
  seed: number
  onProgress?: (done: number, total: number) => void
}

export interface ReplayRow {
  /** Undefined in the sums over all machines. */
  machine?: { site: string; machine: string }
  policy: string
  /** Undefined where the price on record was taken. */
  price: number | undefined
  account: Account
}

export interface Replay {
  windows: number
  rows: ReplayRow[]
  /** Machines that were left out, since their windows are known by summaries alone. */
  summarised: { site: string; machine: string; until: number }[]
}

/** These look at more than the label and its probability. */
const lookAtAll = new Set(['default', 'margin', 'entropy', 'logistic-top2', 'h2t2'])
/** It wants the truth of every window, which no store has. */
const impossible = 'hil-f'

export const replayablePolicies: readonly string[] = policyNames.filter(name => name !== impossible)

interface Contender {
  policy: ReplayPolicy | undefined
  price: number | undefined
  accounts: Map<string, Account>
  /** One per device and local model, as on the devices. */
  deciders: Map<string, Policy>
}

/**
 * Shows recorded windows to policies, in order, and keeps account of what each would have sent, missed and paid. A policy
 * hears the verdicts that are on record before the next window; those on windows that were never sent, nobody can tell.
 * Throws `TELEMETRY_EMPTY`, `TELEMETRY_INCOMPLETE`, `MODEL_MISMATCH`, `STORE_FAILED`, and the errors of policies.
 */
export async function replayHistory(store: TelemetryStore, options: ReplayOptions): Promise<Replay> {
  const { since, until, policies, onProgress, ...rest } = options
  const place: Place = { site: rest.site, device: rest.device, point: rest.point, machine: rest.machine }
  for (const policy of policies) checkPolicy(policy)
  const range = { ...place, since, until }
  const counted = await store.counts({ ...range, groupBy: ['site', 'machine'] })
  const machines = counted.map(({ site = '', machine = '', count }) => ({ site, machine, count }))
  const span = `${new Date(since).toISOString()} to ${new Date(until).toISOString()}`
  if (machines.length === 0) throw new FaultlineError('TELEMETRY_EMPTY', `no window was recorded from ${span}`)
  const summarised = await summarisedMachines(store, range, machines)
  const left = machines.filter(each => !summarised.some(other => keyOf(other) === keyOf(each)))
  if (left.length === 0)
    throw new FaultlineError(
      'TELEMETRY_INCOMPLETE',
      `from ${span} windows are known by summaries alone (reporting: exception), which cannot be replayed`,
    )
  const total = left.reduce((sum, { count }) => sum + count, 0)

  const contenders: Contender[] = []
  for (const price of options.prices ?? [undefined])
    for (const policy of [undefined, ...policies])
      contenders.push({ policy, price, accounts: new Map(), deciders: new Map() })
  const wanted = new Set(left.map(keyOf))
  const prices = new Map<string, number>()
  let done = 0
  for await (const windows of windowsOf(store.history(range))) {
    for (const window of windows) {
      if (!wanted.has(keyOf(window))) continue
      const device = `${window.site}\n${window.device}`
      const price = window.price ?? prices.get(device)
      if (price !== undefined) prices.set(device, price)
      for (const contender of contenders) account(contender, window, price, options)
      done++
    }
    onProgress?.(Math.min(done, total), total)
  }
  return { windows: done, rows: contenders.flatMap(rowsOf), summarised }
}

const keyOf = ({ site, machine }: { site: string; machine: string }): string => `${site}\n${machine}`

function checkPolicy({ name, title }: ReplayPolicy): void {
  if (name === impossible)
    throw new FaultlineError('CONFIG_INVALID', `${title} wants the truth of every window, which no store has`)
  if (!policyNames.includes(name))
    throw new FaultlineError(
      'POLICY_UNKNOWN',
      `there is no policy "${name}"; there are ${replayablePolicies.join(', ')}`,
    )
}

/** A device that reports by exception leaves most windows out, and those it publishes are no fair sample of them. */
async function summarisedMachines(
  store: TelemetryStore,
  range: Place & { since: number; until: number },
  machines: readonly { site: string; machine: string }[],
): Promise<Replay['summarised']> {
  const found: Replay['summarised'] = []
  const every = Math.max(1, Math.ceil((range.until - range.since) / 1_000))
  for (const { site, machine } of machines) {
    const buckets = await store.series({ ...range, site, machine, measurement: 'summary', field: 'windows', every })
    const last = buckets.at(-1)
    if (last) found.push({ site, machine, until: last.time + every })
  }
  return found
}

function account(contender: Contender, window: RecordedWindow, recorded: number | undefined, options: ReplayOptions) {
  const { normal } = options
  const price = contender.price ?? recorded
  if (price === undefined)
    throw new FaultlineError(
      'TELEMETRY_INCOMPLETE',
      `${describe(window)} was recorded without a price; give one with --price`,
    )
  const key = keyOf(window)
  const account = contender.accounts.get(key) ?? new Account()
  contender.accounts.set(key, account)
  account.windows++
  if (!contender.policy) return recordedAccount(account, window, price, normal)

  const { policy, local } = deciderOf(contender, contender.policy, window, price, options)
  const { action, token } = policy.decide(local, { price })
  if (action === 'accept') {
    account.keep(window, normal)
    account.audit(window, normal)
    return
  }
  // Where no server could be asked, no policy could have asked it.
  if (!window.unsendable) account.send(window, price)
  if (window.truth !== undefined) {
    policy.learn({ local, remote: remoteOf(window, local.classes), price, token })
    return
  }
  account.unheard++
  // An escalation that nobody answered would not have been answered either; an accepted one would.
  if (!window.accepted || window.audited) account.keep(window, normal)
}

function recordedAccount(account: Account, window: RecordedWindow, price: number, normal: string): void {
  const escalated = !window.accepted || window.audited
  if (escalated && !window.unsendable) account.send(window, price)
  if (window.audited) account.audits++
  account.audit(window, normal)
  if (!escalated || window.truth === undefined) account.keep(window, normal)
}

function deciderOf(
  { deciders }: Contender,
  settings: ReplayPolicy,
  window: RecordedWindow,
  price: number,
  { bundle, normal, seed }: ReplayOptions,
): { policy: Policy; local: LocalResult } {
  const needsAll = lookAtAll.has(settings.name) || (settings.name === 'calibrated' && settings.parameters !== undefined)
  if (needsAll && !window.complete)
    throw new FaultlineError(
      'TELEMETRY_INCOMPLETE',
      `${describe(window)} was recorded without the probabilities of all classes, which ${settings.title} looks at`,
    )
  const local = bundle ? ordered(window, bundle.classes) : window.local
  if (!local)
    throw new FaultlineError(
      'MODEL_MISMATCH',
      `${describe(window)} has the classes ${window.local.classes.join(', ')}, the bundle ${bundle!.classes.join(', ')}`,
    )
  const key = `${window.site}\n${window.device}\n${window.digest}`
  const known = deciders.get(key)
  if (known) return { policy: known, local }
  const { threshold = Math.max(0, 1 - price), correctness, server } = bundle?.calibration ?? {}
  const model: PolicyModel = {
    digest: window.digest,
    normal: bundle?.normal ?? normal,
    threshold,
    calibration: correctness,
    server,
  }
  const policy = createPolicy(settings, model, seed)
  deciders.set(key, policy)
  return { policy, local }
}

const describe = ({ machine, time }: RecordedWindow): string =>
  `the window of ${machine} at ${new Date(time).toISOString()}`

function remoteOf({ truth, serverConfidence }: RecordedWindow, classes: readonly string[]) {
  const index = classes.indexOf(truth!)
  const probabilities = classes.map((_, i) => Number(i === index))
  return { ...classificationOf(classes, probabilities), label: truth!, confidence: serverConfidence }
}

/** The sums first, then every machine in the order of its name. */
function rowsOf({ policy, price, accounts }: Contender): ReplayRow[] {
  const total = new Account()
  for (const account of accounts.values()) total.add(account)
  const row = { policy: policy?.title ?? RECORDED, price }
  const machines = [...accounts].sort(([a], [b]) => (a < b ? -1 : 1))
  return [
    { ...row, account: total },
    ...machines.map(([key, account]) => {
      const [site = '', machine = ''] = key.split('\n')
      return { ...row, machine: { site, machine }, account }
    }),
  ]
}
