import { readFileSync } from 'node:fs'

const freshMs = 10_000

/** Charge of the battery, from a file that holds it in per cent, as Linux has it in /sys/class/power_supply/…/capacity. */
export class Battery {
  private readonly file: string | undefined
  private readAt = Number.NEGATIVE_INFINITY
  private last: number | undefined

  constructor(file: string | undefined) {
    this.file = file
  }

  /** 0..1, at most ten seconds old; undefined where there is no battery, or its file says nothing one can believe. */
  get level(): number | undefined {
    if (this.file === undefined) return undefined
    if (performance.now() - this.readAt >= freshMs) {
      this.last = levelIn(this.file)
      this.readAt = performance.now()
    }
    return this.last
  }
}

function levelIn(file: string): number | undefined {
  try {
    const text = readFileSync(file, 'utf8').trim()
    const percent = text === '' ? Number.NaN : Number(text)
    return percent >= 0 && percent <= 100 ? percent / 100 : undefined
  } catch {
    return undefined
  }
}
