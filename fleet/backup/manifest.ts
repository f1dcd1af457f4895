import { z } from 'zod'

/** Version of the format of a backup's file. */
export const formatVersion = 1
export const manifestName = 'manifest.json'

const levels = (path: string): string[] => path.split('/')

/** Names that lead nowhere but down. */
const insidePath = z
  .string()
  .max(1_000)
  .refine(path => levels(path).every(level => level !== '' && level !== '.' && level !== '..' && !level.includes('\0')))

export const manifest = z.object({
  format: z.literal(formatVersion),
  /** Version of the software that wrote it. */
  version: z.string(),
  /** When it was taken, UTC. */
  at: z.iso.datetime(),
  /** What was backed up, and where it was. */
  roots: z.array(z.object({ name: insidePath, path: z.string() })).min(1),
  files: z.array(
    z.object({
      path: insidePath,
      bytes: z.int().nonnegative(),
      mode: z.int().min(0).max(0o777),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
})

export type Manifest = z.infer<typeof manifest>
