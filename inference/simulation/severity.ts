/** How bad a fault is, 0..1, at a time in seconds since the simulation began. */
export type Severity = (seconds: number) => number

export interface Growth {
  /** When the fault begins. */
  afterS: number
  /** How long it takes to grow from `from` to `to`; 0 for a step. */
  durationS: number
  from?: number
  to?: number
}

/** A fault that is absent until it begins, then grows in a straight line and stays. */
export function growing({ afterS, durationS, from = 0, to = 1 }: Growth): Severity {
  return seconds => {
    if (seconds < afterS) return 0
    if (durationS <= 0) return to
    return from + (to - from) * Math.min(1, (seconds - afterS) / durationS)
  }
}
