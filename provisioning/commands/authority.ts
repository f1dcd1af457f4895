import { Argument, type Command, parseInteger } from '@faultline/runtime'
import { beginRollover, finishRollover, type RolloverStatus, rolloverStatus, switchRollover } from '../rollover.ts'
import { dayFromNow, say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags {
  registry: string
  name: string
  years: number
  force?: boolean
}

export function addAuthority(program: Command): void {
  withRegistry(program.command('authority'))
    .description("show the fleet's authority, or put another in its place, in three steps")
    .addArgument(
      new Argument(
        '[step]',
        'begin: make the next, to be believed beside it. switch: have it sign. finish: end belief in the former',
      ).choices(['begin', 'switch', 'finish']),
    )
    .option('--name <name>', 'what the next certificate calls the fleet', 'Faultline fleet')
    .option('--years <years>', 'how long the next is good', parseInteger(1, 50), 20)
    .option('--force', 'go on although some identities would have to claim anew')
    .action(roll)
}

async function roll(step: string | undefined, { registry: path, name, years, force }: Flags): Promise<void> {
  await withOpen(path, async registry => {
    if (step === 'begin') await beginRollover(registry, path, name, years * 365)
    if (step === 'switch') await switchRollover(registry, path, force)
    if (step === 'finish') await finishRollover(registry, path, force)
    say(describe(await rolloverStatus(registry, path)))
  })
}

function describe({ phase, authorities, certified, waitingFor }: RolloverStatus): string {
  const lines = authorities.map(({ fingerprint, notAfter, signs }) => {
    const what = signs ? 'authority' : phase === 'begun' ? 'next' : 'former'
    return `${what.padEnd(11)}${fingerprint}, until ${dayFromNow(notAfter.toISOString())}`
  })
  if (phase === 'settled') return [...lines, 'no rollover is under way'].join('\n')
  const done = certified.length - waitingFor.length
  const whose = phase === 'begun' ? 'know the next authority' : 'have a certificate of the new authority'
  const after = phase === 'begun' ? 'switch' : 'finish'
  return [
    ...lines,
    `${done} of ${certified.length} identities with certificates ${whose}`,
    ...waitingFor.slice(0, 20).map(name => `waiting    ${name}`),
    ...(waitingFor.length > 20 ? [`           and ${waitingFor.length - 20} more`] : []),
    `next step  ${after}${waitingFor.length > 0 ? ', once nobody is waited for' : ''}`,
  ].join('\n')
}
