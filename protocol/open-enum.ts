import { z } from 'zod'
import { readAs } from './encoder-schema.ts'

/** Stands for a member of an enumeration that a later version of the contract added and this software does not know. */
export const other = 'other'
export type Other = typeof other

type Members = readonly [string, ...string[]]

/**
 * An enumeration that later versions of the contract may extend: a reader takes a member it does not know as `other`,
 * a writer may write only the members listed.
 */
export function openEnum<const T extends Members>(members: T): z.ZodType<T[number] | Other, T[number] | Other> {
  const known = z.enum(members)
  const unknown = z.string().transform(() => other)
  return readAs(z.union([known, unknown]), known) as unknown as z.ZodType<T[number] | Other, T[number] | Other>
}

/** Counts by member of an open enumeration; a reader adds up those of members that it does not know as `other`. */
export function openCounts<const T extends Members>(
  members: T,
  amount: z.ZodType<number, number>,
): z.ZodType<Partial<Record<T[number] | Other, number>>, Partial<Record<T[number] | Other, number>>> {
  const known = z.partialRecord(z.enum(members), amount)
  const names = new Set<string>(members)
  const read = z.record(z.string(), amount).transform(counts => {
    const result: Record<string, number> = {}
    for (const [name, value] of Object.entries(counts)) {
      const key = names.has(name) ? name : other
      result[key] = (result[key] ?? 0) + value
    }
    return result
  })
  return readAs(read, known) as unknown as ReturnType<typeof openCounts<T>>
}
