import { identifier } from '@faultline/protocol'
import { z } from 'zod'
import type { FoundBundle } from './repository.ts'

const newest = 'newest'
const reference = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}:\d+\.\d+\.\d+$/, 'must be NAME:VERSION, or newest')

/** Which model of a task answers, and which one is asked beside it. */
export const route = z.strictObject({
  answer: z
    .union([z.literal(newest), reference])
    .default(newest)
    .describe('Whose answers are sent: newest, the highest version that has proved itself, or one as NAME:VERSION'),
  shadow: z
    .union([z.literal(newest), reference])
    .optional()
    .describe(
      'Whose answers are recorded beside them and sent to nobody: newest, of the others, or one as NAME:VERSION',
    ),
})

/** By task. */
export const routes = z.record(identifier, route)

export type Route = z.infer<typeof route>
export type Routes = Readonly<Record<string, Route>>

/** How a model is named in routes and metrics. */
export const nameOf = ({ name, version }: Pick<FoundBundle, 'name' | 'version'>): string => `${name}:${version}`

export const allows = (wanted: string, bundle: Pick<FoundBundle, 'name' | 'version'>): boolean =>
  wanted === newest || wanted === nameOf(bundle)

/**
 * Newest first: by version, then by when it was trained. All server agents with the same bundles come to the same order, whatever the
 * names of their directories.
 */
export function byAge(a: FoundBundle, b: FoundBundle): number {
  const [ours, theirs] = [a, b].map(({ version }) => version.split('.').map(Number)) as [number[], number[]]
  for (const [i, part] of ours.entries()) if (part !== theirs[i]) return theirs[i]! - part
  if (a.trainedAt !== b.trainedAt) return a.trainedAt < b.trainedAt ? 1 : -1
  return a.digest < b.digest ? -1 : a.digest > b.digest ? 1 : 0
}
