import type { Inference, Outcome, Summary } from '@faultline/protocol'

/** The last word of one measurement point. */
export interface PointRecord {
  device: string
  point: string
  label: string
  confidence: number | null
  decidedBy: Inference['decidedBy']
  at: string
  /** When the label last changed. */
  since: string
}

/** Outcomes of windows that went up to a server. */
const escalatedOutcomes: readonly Outcome[] = ['answered', 'late', 'rejected']

/** So many windows make the strip beside a machine's name. */
const historyLength = 48

/** What has been seen of one machine. */
export class MachineRecord {
  readonly site: string
  readonly machine: string
  windows = 0
  escalated = 0
  private readonly normal: string
  private readonly points = new Map<string, PointRecord>()
  private readonly recent: { id: string; sign: string }[] = []

  constructor(site: string, machine: string, normal: string) {
    this.site = site
    this.machine = machine
    this.normal = normal
  }

  observe(device: string, point: string, inference: Inference): void {
    const { id, revises, outcome } = inference
    const revised = this.recent.find(window => window.id === (revises ?? id))
    if (revised) revised.sign = this.signOf(inference)
    if (revises !== undefined || revised) return
    const escalated = escalatedOutcomes.includes(outcome)
    this.windows++
    if (escalated) this.escalated++
    this.recent.push({ id, sign: this.signOf(inference) })
    if (this.recent.length > historyLength) this.recent.shift()
    const { label, confidence, decidedBy, at } = inference
    const key = `${device}/${point}`
    const before = this.points.get(key)
    const since = before?.label === label ? before.since : at
    this.points.set(key, { device, point, label, confidence, decidedBy, at, since })
  }

  summarise(summary: Summary): void {
    this.windows += summary.windows
    for (const outcome of escalatedOutcomes) this.escalated += summary.outcomes[outcome] ?? 0
  }

  /** The point that speaks for the machine: one that shows a fault before any other, and the newest of those. */
  get spokesman(): PointRecord | undefined {
    const rank = (record: PointRecord) => (record.label === this.normal ? 0 : 1)
    return [...this.points.values()].sort((a, b) => rank(b) - rank(a) || Date.parse(b.at) - Date.parse(a.at))[0]
  }

  /** A letter per window, oldest first: n normal, f fault, capital when a server was asked, ? without an answer. */
  get history(): string {
    return this.recent.map(window => window.sign).join('')
  }

  private signOf({ label, confidence, outcome }: Inference): string {
    if (confidence === null) return '?'
    const sign = label === this.normal ? 'n' : 'f'
    return escalatedOutcomes.includes(outcome) ? sign.toUpperCase() : sign
  }
}
