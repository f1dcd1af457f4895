import { type Command, Option } from '@faultline/runtime'
import { hasAgentConfig } from '../agent-config.ts'
import { chooseGrant, grantLines } from './grant.ts'
import { type ClaimFlags, parseHoursOrNone, withClaim } from './options.ts'
import { minute, say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags extends ClaimFlags {
  registry: string
  claim?: boolean
  overlapHours: number
}

export function addRotate(program: Command): void {
  withClaim(withRegistry(program.command('rotate')))
    .description('give an identity a new secret, or a new claim; what it has goes on for a while')
    .argument('<name>', 'such as operators/anna')
    .option('--claim', 'a one-time token in place of a secret (as for what has no secret)')
    .addOption(
      new Option('--overlap-hours <hours>', 'how long what it has now still works; 0 ends it at once')
        .argParser(parseHoursOrNone)
        .default(24 * 3_600_000, '24'),
    )
    .action(rotate)
}

async function rotate(name: string, flags: Flags): Promise<void> {
  await withOpen(flags.registry, async registry => {
    const { overlapHours: overlapMs } = flags
    const granted = await registry.rotate(name, { grant: await chooseGrant(registry, name, flags), overlapMs })
    const what = granted.kind === 'secret' ? 'The secret before' : 'What it had before'
    const until =
      overlapMs === 0 ? 'is void.' : `works until ${minute(new Date(Date.now() + overlapMs).toISOString())}.`
    const lines = await grantLines(granted, flags.registry, hasAgentConfig(registry.show(name)))
    say([`rotated ${name}`, ...lines, `${what} ${until}`].join('\n'))
  })
}
