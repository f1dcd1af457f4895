import type { Command } from '@faultline/runtime'
import { hasAgentConfig } from '../agent-config.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

export function addRotate(program: Command): void {
  withRegistry(program.command('rotate'))
    .description('replace the secret of an identity and print the new one')
    .argument('<name>', 'such as operators/anna')
    .action(rotate)
}

async function rotate(name: string, flags: { registry: string }): Promise<void> {
  await withOpen(flags.registry, async registry => {
    const { secret } = await registry.rotate(name)
    say(`rotated ${name}\nsecret  ${secret}`)
    if (hasAgentConfig(registry.show(name))) say('Put it in broker.secret of the file its agent starts from.')
  })
}
