import { globSync } from 'node:fs'
import { join } from 'node:path'

/** Loads all test files of a folder into this process, one after the other. */
export async function importTests(folder: string): Promise<void> {
  for (const file of globSync('*.test.ts', { cwd: folder }).sort()) await import(join(folder, file))
}
