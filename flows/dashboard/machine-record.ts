import type { Alarm, Inference, Summary } from '@faultline/protocol'
import { RecentMap } from '../recent-map.ts'
import { escalatedIn, isEscalated } from './traffic.ts'

/** The last word of one measurement point. */
export interface PointRecord {
  device: string
  point: string
  label: string
  /** Whether the label is a fault. */
  fault: boolean
  confidence: number | null
  decidedBy: Inference['decidedBy']
  at: string
  /** When the label last changed. */
  since: string
}

interface Heard {
  record: PointRecord
  /** Of the newest window, as far as revisions name it. */
  id: string
  /** What the point said before that window. */
  before: PointRecord | undefined
}

/** A machine has few sensors; names in payloads may be many. */
const maxPoints = 256

/** So many windows make the strip beside a machine's name. */
const historyLength = 48

/** What has been seen of one machine. */
export class MachineRecord {
  readonly site: string
  readonly machine: string
  windows = 0
  escalated = 0
  private readonly normal: string
  /** Devices that have spoken of it, and its alarms by fault. */
  readonly devices = new Set<string>()
  readonly alarms = new Map<string, Alarm>()
  private readonly points = new RecentMap<Heard>({
    limit: maxPoints,
    isHeld: ({ record }) => record.fault,
  })
  private readonly recent: { id: string; sign: string }[] = []

  constructor(site: string, machine: string, normal: string) {
    this.site = site
    this.machine = machine
    this.normal = normal
  }

  observe(device: string, point: string, inference: Inference): void {
    const { id, revises, outcome } = inference
    const key = `${device}/${point}`
    if (revises !== undefined) {
      this.revise(key, revises, inference)
      return
    }
    if (this.recent.some(window => window.id === id)) return
    this.windows++
    if (isEscalated(outcome)) this.escalated++
    this.recent.push({ id, sign: this.signOf(inference) })
    if (this.recent.length > historyLength) this.recent.shift()
    const before = this.points.get(key)?.record
    this.points.set(key, { record: this.recordOf(device, point, inference, before), id, before })
  }

  summarise(summary: Summary): void {
    this.windows += summary.windows
    this.escalated += escalatedIn(summary)
  }

  /** Share of its windows that went up to a server; null before the first. */
  get escalatedShare(): number | null {
    return this.windows > 0 ? this.escalated / this.windows : null
  }

  /** True when nothing is known of it but its name. */
  get isBlank(): boolean {
    return this.windows === 0 && this.devices.size === 0 && this.alarms.size === 0
  }

  /** The point that speaks for the machine: one that shows a fault before any other, and the newest of those. */
  get spokesman(): PointRecord | undefined {
    const rank = (record: PointRecord) => (record.fault ? 1 : 0)
    const records = [...this.points.values()].map(({ record }) => record)
    return records.sort((a, b) => rank(b) - rank(a) || Date.parse(b.at) - Date.parse(a.at))[0]
  }

  /** A letter per window, oldest first: n normal, f fault, capital when a server was asked, ? without an answer. */
  get history(): string {
    return this.recent.map(window => window.sign).join('')
  }

  /** Only the newest window of a point is what the point says now; older ones change in the strip alone. */
  private revise(key: string, id: string, inference: Inference): void {
    const revised = this.recent.find(window => window.id === id)
    if (revised) revised.sign = this.signOf(inference)
    const heard = this.points.get(key)
    if (heard?.id !== id) return
    const { device, point, at } = heard.record
    heard.record = this.recordOf(device, point, { ...inference, at }, heard.before)
  }

  private signOf(inference: Inference): string {
    const { confidence, outcome } = inference
    if (confidence === null) return '?'
    const sign = this.isFault(inference) ? 'f' : 'n'
    return isEscalated(outcome) ? sign.toUpperCase() : sign
  }

  private isFault({ label, faults }: Inference): boolean {
    return faults !== false && label !== this.normal
  }

  private recordOf(device: string, point: string, inference: Inference, before?: PointRecord): PointRecord {
    const { label, confidence, decidedBy, at } = inference
    const since = before?.label === label ? before.since : at
    return { device, point, label, fault: this.isFault(inference), confidence, decidedBy, at, since }
  }
}
