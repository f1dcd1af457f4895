import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** A fresh directory that goes when the test ends. */
export async function temporaryDirectory(t: Pick<TestContext, 'after'>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'faultline-'))
  t.after(() => rm(directory, { recursive: true, force: true, maxRetries: 3 }))
  return directory
}
