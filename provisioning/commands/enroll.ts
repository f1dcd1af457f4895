import { dirname, join } from 'node:path'
import { FaultlineError, type Identity, identityOf, type Role, roles } from '@faultline/protocol'
import { type Command, parseBrokerUrl } from '@faultline/runtime'
import { agentConfig, claimingAccess, dataDirectoryOf, hasAgentConfig } from '../agent-config.ts'
import { loadAuthorityCertificate } from '../authority.ts'
import { writeNewFile } from '../own-file.ts'
import type { Registry } from '../registry.ts'
import { enrollList } from './enroll-list.ts'
import { type ClaimFlags, parseRole, withClaim } from './options.ts'
import { minute, say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags extends ClaimFlags {
  registry: string
  role: Role
  site?: string
  device?: string
  id?: string
  claim?: boolean
  csv?: string
  brokerUrl?: string
  out?: string
  config: boolean
}

export function addEnroll(program: Command): void {
  withClaim(withRegistry(program.command('enroll')))
    .description('add an identity; for a device or a server also the file its agent starts from')
    .option('--role <role>', roles.join(', '), parseRole, 'device')
    .option('--site <site>', 'of a device')
    .option('--device <device>', 'name of a device')
    .option('--id <name>', 'name of any other identity')
    .option('--claim', 'no secret, but a one-time token for which the agent fetches a certificate')
    .option('--csv <file>', 'many devices: columns site and device. All get a claim, or none is enrolled')
    .option('--broker-url <url>', 'how the agent reaches the broker (default: on this machine)', parseBrokerUrl)
    .option(
      '--out <file>',
      "the agent's file (default: below the registry's directory, by name); with --csv the tokens",
    )
    .option('--no-config', 'write no file; print the secret or the token')
    .action(enroll)
}

async function enroll(flags: Flags): Promise<void> {
  if (flags.csv !== undefined) {
    if (flags.out === undefined) throw usage('--csv: give --out FILE, where the tokens go')
    if (flags.site ?? flags.device ?? flags.id) throw usage('--csv: the file names the devices, no option does')
    const { registry: path, csv, out, claimHours } = flags
    return withOpen(path, registry => enrollList(registry, { path, csv, out, validMs: claimHours }), { make: true })
  }
  const identity = identityFrom(flags)
  const writes = hasAgentConfig(identity) && flags.config
  if (flags.out !== undefined && !writes)
    throw usage('--out: a file is written for a device or a server only, without --no-config')
  const enrollOne = flags.claim ? await claiming(flags, identity) : withSecret(flags, identity)
  await withOpen(
    flags.registry,
    async registry => {
      if (!writes) {
        const { lines } = await enrollOne(registry)
        say([`enrolled ${identity.name}`, ...lines].join('\n'))
        return
      }
      const file = flags.out ?? join(dirname(flags.registry), `${identity.name}.yaml`)
      const what = flags.claim ? 'a one-time token' : 'the secret'
      await writeNewFile(file, async () => (await enrollOne(registry)).config)
      say(`enrolled ${identity.name}\nits file ${file} (holds ${what}; only you can read it)`)
    },
    { make: true },
  )
}

type EnrollOne = (registry: Registry) => Promise<{ lines: string[]; config: string }>

const withSecret =
  ({ brokerUrl = 'mqtt://127.0.0.1:1883' }: Flags, identity: Identity): EnrollOne =>
  async registry => {
    const { secret } = await registry.enroll(identity)
    return { lines: [`secret   ${secret}`], config: agentConfig(identity, { url: brokerUrl, secret }) }
  }

/** What may be wrong comes up before anything is enrolled. */
async function claiming(flags: Flags, identity: Identity): Promise<EnrollOne> {
  const { brokerUrl: url = 'mqtts://127.0.0.1:8883', enrolmentUrl, claimHours } = flags
  const { fingerprint } = await loadAuthorityCertificate(flags.registry)
  const accessFor = (claim: { token: string; expiresAt: string }) =>
    claimingAccess(dataDirectoryOf(identity), { url, enrolmentUrl, fingerprint, claim })
  accessFor({ token: 'x', expiresAt: '' })
  return async registry => {
    const claim = registry.enrollToClaim(identity, claimHours)
    return {
      lines: [`token       ${claim.token}`, `good until  ${minute(claim.expiresAt)}`, `authority   ${fingerprint}`],
      config: agentConfig(identity, accessFor(claim)),
    }
  }
}

function identityFrom({ role, site, device, id }: Flags): Identity {
  const wrong = (wanted: string) => usage(`a ${role} is enrolled with ${wanted}`)
  if (role === 'device') {
    if (site === undefined || device === undefined || id !== undefined) throw wrong('--site S --device D')
    return identityOf('device', site, device)
  }
  if (id === undefined || site !== undefined || device !== undefined) throw wrong(`--role ${role} --id NAME`)
  return identityOf(role, id)
}

const usage = (message: string): FaultlineError => new FaultlineError('CONFIG_INVALID', message)
