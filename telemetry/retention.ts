import { z } from 'zod'

/** The roll-ups, finest first. A series over months is read from them. */
export const tiers = ['minutes', 'hours'] as const
export type Tier = (typeof tiers)[number]

/** Length of a tier's buckets in ms. */
export const tierMs: Record<Tier, number> = { minutes: 60_000, hours: 3_600_000 }

export const dayMs = 86_400_000

const days = z
  .number()
  .min(1 / 24)
  .max(36_500)

export const retentionConfig = z.strictObject({
  rawDays: days.default(30).describe('Of the points themselves; older ones are set aside'),
  minuteDays: days.default(365).describe('Of the roll-ups by minute'),
  hourDays: days.default(3_650).describe('Of the roll-ups by hour'),
})

export type Retention = z.infer<typeof retentionConfig>

export const defaultRetention: Retention = retentionConfig.parse({})

export const retentionMs = ({ rawDays, minuteDays, hourDays }: Retention): Record<'raw' | Tier, number> => ({
  raw: rawDays * dayMs,
  minutes: minuteDays * dayMs,
  hours: hourDays * dayMs,
})

/** What a roll-up keeps of each number, as the beginning of a field's name: `sum_latencyMs`. A mean is sum by count. */
export const rolledUpValues = ['sum', 'count', 'min', 'max'] as const

/**
 * Where a series is read: from the points as long as they reach back to its begin, else from the finest roll-up that does
 * and whose buckets its own are made of; undefined where nothing does.
 */
export function tierFor(
  { since, every }: { since: number; every: number },
  available: readonly Tier[],
  retention: Retention,
  now = Date.now(),
): 'raw' | Tier {
  const kept = retentionMs(retention)
  if (since >= now - kept.raw) return 'raw'
  const usable = available.filter(tier => every % tierMs[tier] === 0)
  // Where none reaches back far enough, the one that reaches furthest has most of it.
  return usable.find(tier => since >= now - kept[tier]) ?? usable.at(-1) ?? 'raw'
}
