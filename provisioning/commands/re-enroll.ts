import type { Command } from '@faultline/runtime'
import { hasAgentConfig } from '../agent-config.ts'
import { chooseGrant, grantLines } from './grant.ts'
import { type ClaimFlags, withClaim } from './options.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags extends ClaimFlags {
  registry: string
  claim?: boolean
}

export function addReEnroll(program: Command): void {
  withClaim(withRegistry(program.command('re-enroll')))
    .description('void all an identity had, at once, and give it a new secret or claim; also one that was revoked')
    .argument('<name>', 'such as devices/plant-a/press-3')
    .option('--claim', 'a one-time token in place of a secret (as for what has no secret)')
    .action(reEnroll)
}

async function reEnroll(name: string, flags: Flags): Promise<void> {
  await withOpen(flags.registry, async registry => {
    const granted = await registry.reEnroll(name, await chooseGrant(registry, name, flags))
    const lines = await grantLines(granted, flags.registry, hasAgentConfig(registry.show(name)))
    say([`re-enrolled ${name}: what it had before is void`, ...lines].join('\n'))
  })
}
