import { readFile } from 'node:fs/promises'
import { toFaultlineError } from '@faultline/protocol'
import type { Command } from '@faultline/runtime'
import { importRegistry } from '../registry-export.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

export function addImport(program: Command): void {
  withRegistry(program.command('import'))
    .description('take up what `export` wrote, in a registry that holds no identity yet')
    .argument('<file>', 'as exported')
    .action(importFrom)
}

async function importFrom(file: string, { registry: path }: { registry: string }): Promise<void> {
  const text = await readFile(file, 'utf8').catch(cause => {
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE')
  })
  await withOpen(
    path,
    registry => {
      const count = importRegistry(registry.database, text, file)
      say(`imported ${count} identities; copy ca.pem and ca.key beside ${path} as well`)
    },
    { make: true },
  )
}
