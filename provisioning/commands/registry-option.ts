import { existsSync } from 'node:fs'
import { FaultlineError } from '@faultline/protocol'
import type { Command } from '@faultline/runtime'
import { Registry } from '../registry.ts'

/** The option of every command that works on the registry. */
export function withRegistry(command: Command): Command {
  return command
    .option('--registry <file>', 'the registry; the first enrolment makes it', '.faultline/registry.db')
    .allowExcessArguments(false)
}

/** Runs `work` with the registry open. Throws `CONFIG_INVALID` where there is none, unless it is to be made. */
export async function withOpen<T>(
  path: string,
  work: (registry: Registry) => T | Promise<T>,
  { make = false }: { make?: boolean } = {},
): Promise<T> {
  // A mistyped path should not answer "no identities".
  if (!make && !existsSync(path)) throw new FaultlineError('CONFIG_INVALID', `--registry: there is no ${path}`)
  const registry = new Registry(path)
  await registry.start()
  try {
    return await work(registry)
  } finally {
    await registry.stop()
  }
}
