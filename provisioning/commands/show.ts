import type { Command } from '@faultline/runtime'
import { renderTable } from '../table.ts'
import { say, stateOf } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

export function addShow(program: Command): void {
  withRegistry(program.command('show'))
    .description('show one identity and what was done to it')
    .argument('<name>', 'such as devices/plant-a/press-3')
    .action(show)
}

async function show(name: string, flags: { registry: string }): Promise<void> {
  await withOpen(flags.registry, registry => {
    const entry = registry.show(name)
    const history = registry.history(name).map(({ at, action, actor }) => [at, action, actor])
    say(`${entry.name} (${entry.role}): ${stateOf(entry)}\n\n${renderTable(['at', 'was', 'by'], history)}`)
  })
}
