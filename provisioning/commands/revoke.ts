import type { Command } from '@faultline/runtime'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

export function addRevoke(program: Command): void {
  withRegistry(program.command('revoke'))
    .description("end an identity's access, connections included")
    .argument('<name>', 'such as devices/plant-a/press-3')
    .action(revoke)
}

async function revoke(name: string, flags: { registry: string }): Promise<void> {
  await withOpen(flags.registry, registry => {
    registry.revoke(name)
    say(`revoked ${name}: the broker ends its connections within a second`)
  })
}
