import { policyNames, unitOf } from '@faultline/inference'
import type {
  ConfigReported,
  DeviceState,
  Health,
  Inference,
  Message,
  PriceList,
  RuntimeConfig,
  TopicAddress,
} from '@faultline/protocol'
import { RecentMap } from '../recent-map.ts'
import type { Calibration } from './calibrations.ts'
import { type Costs, type DecidedWindow, DecisionTally, type ObservedBin, windowOf } from './decision-tally.ts'
import { compareTexts, type Listing, type Look, pageOf } from './look.ts'

/** Points are named in messages; those heard of last stay. */
const mostPoints = 10_000

/** What an amount in wrong answers is worth. */
export interface Money {
  currency: string
  /** Of one wrong accepted answer of the dearest kind. */
  unit: number
}

export interface DecisionRow {
  key: string
  site: string
  device: string
  point: string
  machine: string | null
  policy: string | null
  /** Of one escalation, in wrong accepted answers. */
  price: number | null
  money: Money | null
  windows: number
  escalatedShare: number | null
  costs: Costs | null
}

/** What was decided at the point that is open; it changes with every window. */
export interface OpenDecisions {
  row: DecisionRow
  /** The first window that is counted. */
  since: string | null
  counts: { answered: number; audits: number; auditsWrong: number }
  observed: ObservedBin[]
  /** The newest decision, with the numbers behind it. */
  last: Pick<Inference, 'at' | 'reason' | 'outcome' | 'label' | 'numbers'> | null
  /** What it sends over, as its price list names it. */
  link: string | null
  /** Why the windows before the flows began are not counted; absent where the store gave them. */
  incomplete?: string
}

/** How the device of the point that is open is set. */
export interface Setting {
  /** Of the local model, where its bundle is known here. */
  calibration: Calibration | null
  policy: { name: string; parameters: Record<string, unknown> } | null
  prices: PriceList | null
  desired: { revision: number; config: RuntimeConfig } | null
  reported: ConfigReported | null
  /** The last that it was sent, where it refused that. */
  refused: Pick<ConfigReported, 'revision' | 'error'> | null
  /** The last revision that it applied and did not refuse; null where the flows began after it. */
  inForce: number | null
}

export type DecisionsParts = {
  /** Known ones, shown or not. */
  points: number
  sites: string[]
  policies: readonly string[]
  open: OpenDecisions | null
  setting: Setting | null
  /** Points that fit the look, and which of them the rows begin with. */
  matching: number
  from: number
}

interface PointRecord {
  site: string
  device: string
  point: string
  machine: string | null
  tally: DecisionTally
  last: Inference | null
  past?: { problem?: string }
}

interface DeviceRecord {
  state?: Extract<DeviceState, { online: true }>
  health?: Health
  desired?: { revision: number; config: RuntimeConfig }
  reported?: ConfigReported
  refused?: ConfigReported
  inForce?: number
}

/** How devices decide, and what it has cost. Pure: no clock, no timers, no MQTT. */
export class DecisionsView {
  private readonly points = new RecentMap<PointRecord>({ limit: mostPoints, isHeld: () => false })
  private readonly devices = new Map<string, DeviceRecord>()
  private ordered: PointRecord[] | undefined
  /** By digest. */
  calibrations: ReadonlyMap<string, Calibration> = new Map()

  apply(message: Message): void {
    if (message.kind === 'inference') {
      const record = this.point(message.address)
      record.machine = message.payload.machine
      record.tally.count(windowOf(message.payload))
      if (message.payload.revises === undefined && !message.payload.backlog) record.last = message.payload
    } else if (message.kind === 'summary') {
      const record = this.point(message.address)
      record.machine = message.payload.machine
      record.tally.countSummary(message.payload)
    } else if (message.kind === 'state') {
      const { site, device } = message.address
      if (!message.payload.online) return
      this.device(message.address).state = message.payload
      for (const { point, machine } of message.payload.points) this.point({ site, device, point }).machine = machine
    } else if (message.kind === 'health') {
      this.device(message.address).health = message.payload
    } else if (message.kind === 'config-desired') {
      this.device(message.address).desired = message.payload
    } else if (message.kind === 'config-reported') {
      hear(this.device(message.address), message.payload)
    }
  }

  clear(address: TopicAddress): void {
    if (address.kind !== 'state') return
    const { site, device } = address
    this.devices.delete(`${site}/${device}`)
    for (const [key, record] of [...this.points.entries()])
      if (record.site === site && record.device === device) this.points.delete(key)
    this.ordered = undefined
  }

  /** Whether a store could say more of the point than the view knows. */
  lacksPast(key: string): boolean {
    const record = this.points.get(key)
    return record !== undefined && (record.past === undefined || record.past.problem !== undefined)
  }

  /** From when on windows of a point are counted, ms since 1970; undefined before the first. */
  since(key: string): number | undefined {
    const since = this.points.get(key)?.tally.since
    return Number.isFinite(since) ? since : undefined
  }

  /** Windows of the time before, or why there are none. */
  remember(key: string, past: readonly DecidedWindow[] | { problem: string }): void {
    const record = this.points.get(key)
    if (!record) return
    record.past = 'problem' in past ? past : {}
    if (!('problem' in past)) for (const window of past) record.tally.count(window)
  }

  show(look: Look): { rows: DecisionRow[]; parts: DecisionsParts } {
    const all = this.inOrder()
    const rows = all.map(record => ({ ...this.place(record), record }))
    const { items, from, matching } = pageOf(rows, look, listing)
    return {
      rows: items.map(({ record }) => this.row(record)),
      parts: {
        points: all.length,
        sites: [...new Set(all.map(({ site }) => site))],
        policies: policyNames,
        open: this.open(look.open),
        setting: this.setting(look.open),
        matching,
        from,
      },
    }
  }

  private open(key: string): OpenDecisions | null {
    const record = this.points.get(key)
    if (!record) return null
    const { tally, last } = record
    const { health } = this.device(record)
    return {
      row: this.row(record),
      since: timeOf(tally.since),
      counts: { answered: tally.answered, audits: tally.audits, auditsWrong: tally.auditsWrong },
      observed: tally.observed(),
      last: last && {
        at: last.at,
        reason: last.reason,
        outcome: last.outcome,
        label: last.label,
        numbers: last.numbers,
      },
      link: health?.price?.link ?? null,
      ...(record.past?.problem !== undefined && { incomplete: record.past.problem }),
    }
  }

  private setting(key: string): Setting | null {
    const record = this.points.get(key)
    if (!record) return null
    const { state, desired, reported, refused, inForce } = this.device(record)
    const local = state?.models.find(({ role }) => role === 'local')
    return {
      calibration: this.calibrationOf(local?.digest),
      policy: reported?.config.policy ?? state?.policy ?? null,
      prices: reported?.config.prices ?? null,
      desired: desired ?? null,
      reported: reported ?? null,
      refused: refused ? { revision: refused.revision, error: refused.error } : null,
      inForce: inForce ?? null,
    }
  }

  private row(record: PointRecord): DecisionRow {
    const { tally } = record
    return {
      ...this.place(record),
      windows: tally.windows,
      escalatedShare: tally.windows > 0 ? tally.escalated / tally.windows : null,
      costs: tally.costs(),
    }
  }

  private place(record: PointRecord) {
    const { site, device, point, machine, last } = record
    const { state, health, reported } = this.device(record)
    return {
      key: `${site}/${device}/${point}`,
      site,
      device,
      point,
      machine,
      policy: reported?.config.policy?.name ?? state?.policy.name ?? null,
      price: last?.numbers?.price ?? health?.price?.value ?? reported?.config.price ?? null,
      money: moneyOf(reported?.config.prices),
    }
  }

  /** Digests in messages may be shortened. */
  private calibrationOf(digest: string | undefined): Calibration | null {
    if (digest === undefined) return null
    return [...this.calibrations.values()].find(known => known.digest.startsWith(digest)) ?? null
  }

  private inOrder(): readonly PointRecord[] {
    this.ordered ??= [...this.points.values()].sort(
      (a, b) => compareTexts(a.site, b.site) || compareTexts(a.device, b.device) || compareTexts(a.point, b.point),
    )
    return this.ordered
  }

  private point({ site, device, point }: { site: string; device: string; point: string }): PointRecord {
    return this.points.reach(`${site}/${device}/${point}`, () => {
      this.ordered = undefined
      return { site, device, point, machine: null, tally: new DecisionTally(), last: null }
    })
  }

  private device({ site, device }: { site: string; device: string }): DeviceRecord {
    const record = this.devices.get(`${site}/${device}`) ?? {}
    this.devices.set(`${site}/${device}`, record)
    return record
  }
}

/** What a device says of a configuration. A refused one is taken back under its own revision, which is no news. */
function hear(record: DeviceRecord, said: ConfigReported): void {
  record.reported = said
  if (said.status === 'refused') {
    record.refused = said
  } else if (said.revision !== record.refused?.revision) {
    record.refused = undefined
    record.inForce = said.revision
  }
}

const moneyOf = (prices: PriceList | null | undefined): Money | null =>
  prices ? { currency: prices.currency, unit: unitOf(prices) } : null

const timeOf = (ms: number): string | null => (Number.isFinite(ms) ? new Date(ms).toISOString() : null)

type Found = Omit<DecisionRow, 'windows' | 'escalatedShare' | 'costs'> & { record: PointRecord }

const listing: Listing<Found> = {
  text: ({ key, machine, policy }) => `${key} ${machine ?? ''} ${policy ?? ''}`,
  site: ({ site }) => site,
  shows: ({ policy }, group) => policy === group,
  columns: {
    machine: ({ machine }) => machine,
    device: ({ device, point }) => `${device} ${point}`,
    policy: ({ policy }) => policy,
    price: ({ price }) => price,
    windows: ({ record }) => record.tally.windows,
    escalated: ({ record: { tally } }) => (tally.windows > 0 ? tally.escalated / tally.windows : null),
    cost: ({ record }) => record.tally.costs()?.ours,
  },
  order: () => 0,
}
