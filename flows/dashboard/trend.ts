/** Features that the page of a machine draws over time. */
export const trendFeatures = ['velocityRms', 'rms', 'kurtosis', 'crestFactor'] as const
export type TrendFeature = (typeof trendFeatures)[number]

/** Samples that lie one after the other. */
export interface TrendPart {
  key: string
  /** Times of the first and the last of them. */
  from: string
  to: string
  /** By feature; null where a window did not have it. */
  values: Record<TrendFeature, (number | null)[]>
}

/** What one window measured, or several in a summary. */
export interface TrendSample {
  /** The same for the same window, wherever it comes from. */
  id: string
  /** End of the window, ms since 1970. */
  time: number
  features: Readonly<Record<string, number | null | undefined>>
}

/** Only the last part of a trend grows: a page that has the others is not sent them again. */
const partLength = 50
const maxParts = 12
/** Samples that a trend holds at most. */
export const maxSamples = partLength * maxParts

interface Part {
  shown: TrendPart
  samples: TrendSample[]
}

/** What a measurement point measured, the newest windows. */
export class Trend {
  private readonly name: string
  /** Oldest first. */
  private kept: Part[] = []
  private ids = new Set<string>()
  private begun = 0

  constructor(name: string) {
    this.name = name
  }

  /** Oldest first. */
  get parts(): TrendPart[] {
    return this.kept.map(({ shown }) => shown)
  }

  /** Time of the oldest sample, ms since 1970; undefined before the first. */
  get since(): number | undefined {
    return this.kept[0]?.samples[0]?.time
  }

  has(id: string): boolean {
    return this.ids.has(id)
  }

  /** Appends a sample, unless the trend has it. */
  add(sample: TrendSample): void {
    if (this.has(sample.id)) return
    const last = this.kept.at(-1)
    const part = last && last.samples.length < partLength ? last : this.begin(sample.time)
    part.samples.push(sample)
    part.shown.to = timeOf(sample.time)
    for (const name of trendFeatures) part.shown.values[name].push(rounded(sample.features[name]))
    this.ids.add(sample.id)
  }

  /** Puts samples of the past in their places by time. The newest stay where there are too many. */
  remember(past: readonly TrendSample[]): void {
    const missing = past.filter(({ id }) => !this.has(id))
    if (missing.length === 0) return
    const all = [...missing, ...this.kept.flatMap(({ samples }) => samples)].sort((a, b) => a.time - b.time)
    this.kept = []
    this.ids = new Set()
    for (const sample of all.slice(-maxSamples)) this.add(sample)
  }

  private begin(time: number): Part {
    const from = timeOf(time)
    const values = { velocityRms: [], rms: [], kurtosis: [], crestFactor: [] }
    const shown: TrendPart = { key: `trend ${this.name} ${this.begun++}`, from, to: from, values }
    const part: Part = { shown, samples: [] }
    this.kept.push(part)
    if (this.kept.length > maxParts) for (const { id } of this.kept.shift()!.samples) this.ids.delete(id)
    return part
  }
}

const timeOf = (ms: number): string => new Date(ms).toISOString()

/** Four digits are more than a screen shows. */
const rounded = (value: number | null | undefined): number | null =>
  value === undefined || value === null ? null : Number(value.toPrecision(4))
