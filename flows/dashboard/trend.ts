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

/** Only the last part of a trend grows: a page that has the others is not sent them again. */
const partLength = 50
const mostParts = 12

/** What a measurement point measured, the newest windows. */
export class Trend {
  /** Oldest first. */
  readonly parts: TrendPart[] = []
  private readonly name: string
  private begun = 0

  constructor(name: string) {
    this.name = name
  }

  add(at: string, features: Readonly<Record<string, number>>): void {
    const last = this.parts.at(-1)
    const part = last && last.values.rms.length < partLength ? last : this.begin(at)
    part.to = at
    for (const name of trendFeatures) part.values[name].push(rounded(features[name]))
  }

  private begin(from: string): TrendPart {
    const values = { velocityRms: [], rms: [], kurtosis: [], crestFactor: [] }
    const part: TrendPart = { key: `trend ${this.name} ${this.begun++}`, from, to: from, values }
    this.parts.push(part)
    if (this.parts.length > mostParts) this.parts.shift()
    return part
  }
}

/** Four digits are more than a screen shows. */
const rounded = (value: number | undefined): number | null =>
  value === undefined ? null : Number(value.toPrecision(4))
