/**
 * What verdicts have taught a device, as sums over its windows: of devices with the same local model they add up, and the
 * total is what one device would have that had seen all their windows.
 */
export interface Evidence {
  /** What the sums stand for; only evidence of one kind adds up. */
  kind: string
  /** Verdicts behind it. */
  verdicts: number
  sums: readonly number[]
}

/** What a policy needs to share evidence and to begin with that of others. */
export interface Poolable {
  readonly evidenceKind: string
  /** From this device's own verdicts alone, without the prior it began with. Undefined before the first. */
  evidence(): Evidence | undefined
  /**
   * Takes the evidence of others as a prior, on top of what was learned here.
   * Throws `POLICY_STATE_INVALID` for evidence of another kind or of no meaning, and is unchanged then.
   */
  adopt(evidence: Evidence): void
}

/**
 * No device, and no prior, counts for more verdicts than this. Like machines are not the same machine, so what others
 * have learned has to give way to a device's own verdicts in the end, and no device may drown the others.
 */
export const MOST_VERDICTS = 1_000

/** The evidence scaled down to `MOST_VERDICTS`, as a power prior does (Ibrahim and Chen 2000): means stay, certainty falls. */
export function capped({ kind, verdicts, sums }: Evidence): Evidence {
  if (verdicts <= MOST_VERDICTS) return { kind, verdicts, sums }
  const weight = MOST_VERDICTS / verdicts
  return { kind, verdicts: MOST_VERDICTS, sums: sums.map(sum => sum * weight) }
}

/** The sum of evidence of one kind and length, each part capped. Undefined for none. */
export function pooled(parts: readonly Evidence[]): Evidence | undefined {
  if (parts.length === 0) return undefined
  const sums = new Array<number>(parts[0]!.sums.length).fill(0)
  let verdicts = 0
  for (const part of parts.map(capped)) {
    verdicts += part.verdicts
    for (let i = 0; i < sums.length; i++) sums[i]! += part.sums[i]!
  }
  return { kind: parts[0]!.kind, verdicts, sums }
}
