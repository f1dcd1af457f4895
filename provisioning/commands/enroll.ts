import { dirname, join } from 'node:path'
import { FaultlineError, type Identity, identityOf, type Role, roles } from '@faultline/protocol'
import type { Command } from '@faultline/runtime'
import { agentConfig, hasAgentConfig, writeNewFile } from '../agent-config.ts'
import { parseBrokerUrl, parseRole } from './options.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags {
  registry: string
  role: Role
  site?: string
  device?: string
  id?: string
  brokerUrl: string
  out?: string
  config: boolean
}

export function addEnroll(program: Command): void {
  withRegistry(program.command('enroll'))
    .description('add an identity; for a device or a server also the file its agent starts from')
    .option('--role <role>', roles.join(', '), parseRole, 'device')
    .option('--site <site>', 'of a device')
    .option('--device <device>', 'name of a device')
    .option('--id <name>', 'name of any other identity')
    .option('--broker-url <url>', 'how the agent reaches the broker', parseBrokerUrl, 'mqtt://127.0.0.1:1883')
    .option('--out <file>', "the agent's file (default: below the registry's directory, by name)")
    .option('--no-config', 'write no file; print the secret')
    .action(enroll)
}

async function enroll(flags: Flags): Promise<void> {
  const identity = identityFrom(flags)
  if (flags.out !== undefined && (!hasAgentConfig(identity) || !flags.config)) {
    throw new FaultlineError(
      'CONFIG_INVALID',
      '--out: a file is written for a device or a server only, without --no-config',
    )
  }
  await withOpen(
    flags.registry,
    async registry => {
      if (!hasAgentConfig(identity) || !flags.config) {
        const { secret } = await registry.enroll(identity)
        say(`enrolled ${identity.name}\nsecret   ${secret}`)
        return
      }
      const file = flags.out ?? join(dirname(flags.registry), `${identity.name}.yaml`)
      await writeNewFile(file, async () => {
        const { secret } = await registry.enroll(identity)
        return agentConfig(identity, { url: flags.brokerUrl, secret })
      })
      say(`enrolled ${identity.name}\nits file ${file} (holds the secret; only you can read it)`)
    },
    { make: true },
  )
}

function identityFrom({ role, site, device, id }: Flags): Identity {
  const usage = (wanted: string) => new FaultlineError('CONFIG_INVALID', `a ${role} is enrolled with ${wanted}`)
  if (role === 'device') {
    if (site === undefined || device === undefined || id !== undefined) throw usage('--site S --device D')
    return identityOf('device', site, device)
  }
  if (id === undefined || site !== undefined || device !== undefined) throw usage(`--role ${role} --id NAME`)
  return identityOf(role, id)
}
