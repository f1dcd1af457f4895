import { type Role, roles } from '@faultline/protocol'
import { type Command, parsePositive } from '@faultline/runtime'
import type { RegistryEntry } from '../registry-entry.ts'
import { renderTable } from '../table.ts'
import { parseRole } from './options.ts'
import { day, dayFromNow, say, stateOf } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags {
  registry: string
  role?: Role
  site?: string
  revoked?: boolean
  expiring?: number
}

export function addList(program: Command): void {
  withRegistry(program.command('list'))
    .description('show the identities, and until when their certificates are good')
    .option('--role <role>', roles.join(', '), parseRole)
    .option('--site <site>', 'only the devices of one site')
    .option('--expiring <days>', 'only those whose last certificate ends within so many days, or has', parsePositive)
    .option('--revoked', 'include those that were revoked')
    .action(list)
}

async function list({ registry: path, role, site, revoked, expiring }: Flags): Promise<void> {
  await withOpen(path, registry => {
    const before = expiring === undefined ? undefined : new Date(Date.now() + expiring * 86_400_000).toISOString()
    const entries = registry
      .list({ role, site, includeRevoked: revoked ?? false })
      .filter(({ certificateUntil }) => !before || (certificateUntil !== undefined && certificateUntil <= before))
    if (entries.length === 0) return say('no identities')
    const rows = entries.map(entry => [entry.name, entry.role, day(entry.enrolledAt), stateOf(entry), logInOf(entry)])
    say(renderTable(['name', 'role', 'enrolled', 'state', 'logs in by'], rows))
  })
}

function logInOf({ revokedAt, hasSecret, certificateUntil, claimUntil }: RegistryEntry): string {
  if (revokedAt) return '–'
  const means = [
    ...(hasSecret ? ['secret'] : []),
    ...(certificateUntil ? [`certificate until ${dayFromNow(certificateUntil)}`] : []),
    ...(claimUntil ? [`claim until ${dayFromNow(claimUntil)}`] : []),
  ]
  return means.join(' and ') || 'nothing'
}
