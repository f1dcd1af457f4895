import type { Command } from '@faultline/runtime'
import { writeNewFile } from '../own-file.ts'
import { exportRegistry } from '../registry-export.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

export function addExport(program: Command): void {
  withRegistry(program.command('export'))
    .description('write the registry as JSON: hashes and fingerprints, no secrets, no key of the authority')
    .requiredOption('--out <file>', 'must not be there yet')
    .action(exportTo)
}

async function exportTo({ registry: path, out }: { registry: string; out: string }): Promise<void> {
  await withOpen(path, async registry => {
    await writeNewFile(out, async () => {
      registry.record('exported', 'registry')
      return `${JSON.stringify(exportRegistry(registry.database), null, 1)}\n`
    })
    say(`exported ${registry.list({ includeRevoked: true }).length} identities to ${out} (only you can read it)`)
  })
}
