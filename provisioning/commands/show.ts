import type { Command } from '@faultline/runtime'
import { renderTable } from '../table.ts'
import { dayFromNow, minute, say, stateOf } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

export function addShow(program: Command): void {
  withRegistry(program.command('show'))
    .description('show one identity, its certificates and what was done to it')
    .argument('<name>', 'such as devices/plant-a/press-3')
    .action(show)
}

/** Enough to tell the few authorities of a fleet apart. */
const shortened = (fingerprint: string): string => `${fingerprint.slice(0, 16)}…`

async function show(name: string, flags: { registry: string }): Promise<void> {
  await withOpen(flags.registry, registry => {
    const entry = registry.show(name)
    const { hasSecret, formerSecretUntil, claimUntil, believes } = entry
    const lines = [
      `${entry.name} (${entry.role}): ${stateOf(entry)}`,
      ...(hasSecret && !entry.revokedAt ? ['secret       yes'] : []),
      ...(formerSecretUntil ? [`             the one before until ${minute(formerSecretUntil)}`] : []),
      ...(claimUntil ? [`claim        until ${dayFromNow(claimUntil)}`] : []),
      ...registry
        .certificates(name)
        .map(
          ({ fingerprint, until, state, authority }) =>
            `certificate  ${fingerprint}, ${state} ${dayFromNow(until)}${authority ? `, of authority ${shortened(authority)}` : ''}`,
        ),
      ...(believes && !entry.revokedAt
        ? [`believes     authority ${shortened(believes)}, the newest it was told of`]
        : []),
    ]
    const history = registry.history(name).map(({ at, action, actor, detail = '' }) => [at, action, actor, detail])
    say(`${lines.join('\n')}\n\n${renderTable(['at', 'was', 'by', ''], history)}`)
  })
}
