import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { createLogger, type Logger } from '@faultline/runtime'
import { temporaryDirectory } from './temp.ts'

/** A logger, and the lines that it has written so far. */
export async function logFile(
  t: TestContext,
): Promise<{ logger: Logger; lines: () => { msg: string; code?: string; level: number }[] }> {
  const file = join(await temporaryDirectory(t), 'log')
  const logger = createLogger('test', { file })
  const lines = () =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line))
  return { logger, lines }
}
