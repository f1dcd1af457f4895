import { identifier } from '@faultline/protocol'
import { z } from 'zod'

const keeping = z.enum(['off', 'features', 'windows'])

/** What is kept of a site's windows. */
export type Keeping = z.infer<typeof keeping>

/** The entry `archive` of a server agent's configuration. */
export const archiveConfig = z.strictObject({
  directory: z.string().min(1).describe('Where it lies; each server agent needs one of its own'),
  maxBytes: z
    .int()
    .min(1_048_576)
    .default(1_073_741_824)
    .describe('What it may take; the oldest windows go first, those that a person has labelled last'),
  maxAgeDays: z
    .number()
    .positive()
    .max(36_500)
    .default(90)
    .describe('How long a window is kept, in days; one that a person has labelled stays'),
  keep: keeping
    .default('windows')
    .describe('Of sites that are not named. windows: samples and all; features: all but the samples; off: nothing'),
  sites: z
    .record(identifier, keeping)
    .default({})
    .describe('By site, what is kept; what is there already and may no longer be is taken away at the start'),
})

export type ArchiveConfig = z.infer<typeof archiveConfig>

export const keepingOf = ({ keep, sites }: Pick<ArchiveConfig, 'keep' | 'sites'>, site: string): Keeping =>
  sites[site] ?? keep
