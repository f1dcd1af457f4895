import { type Role, roles } from '@faultline/protocol'
import type { Command } from '@faultline/runtime'
import { renderTable } from '../table.ts'
import { parseRole } from './options.ts'
import { day, say, stateOf } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags {
  registry: string
  role?: Role
  site?: string
  revoked?: boolean
}

export function addList(program: Command): void {
  withRegistry(program.command('list'))
    .description('show the identities')
    .option('--role <role>', roles.join(', '), parseRole)
    .option('--site <site>', 'only the devices of one site')
    .option('--revoked', 'include those that were revoked')
    .action(list)
}

async function list({ registry: path, role, site, revoked }: Flags): Promise<void> {
  await withOpen(path, registry => {
    const entries = registry.list({ role, site, includeRevoked: revoked ?? false })
    if (entries.length === 0) return say('no identities')
    const rows = entries.map(entry => [entry.name, entry.role, day(entry.enrolledAt), stateOf(entry)])
    say(renderTable(['name', 'role', 'enrolled', 'state'], rows))
  })
}
