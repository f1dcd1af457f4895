import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { FaultlineError, type Identity, identityOf, type Role, roles } from '@faultline/protocol'
import { type Command, createProgram, InvalidArgumentError, runProgram, version } from '@faultline/runtime'
import { agentConfig, hasAgentConfig, writeNewFile } from './agent-config.ts'
import { Registry, type RegistryEntry } from './registry.ts'
import { renderTable } from './table.ts'

interface EnrollFlags {
  registry: string
  role: Role
  site?: string
  device?: string
  id?: string
  brokerUrl: string
  out?: string
  config: boolean
}

interface ListFlags {
  registry: string
  role?: Role
  site?: string
  revoked?: boolean
}

const program = createProgram('npm run provision --', "The fleet's identities: who may connect to the broker.").version(
  version,
)

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

withRegistry(program.command('list'))
  .description('show the identities')
  .option('--role <role>', roles.join(', '), parseRole)
  .option('--site <site>', 'only the devices of one site')
  .option('--revoked', 'include those that were revoked')
  .action(list)

withRegistry(program.command('show'))
  .description('show one identity and what was done to it')
  .argument('<name>', 'such as devices/plant-a/press-3')
  .action(show)

withRegistry(program.command('revoke'))
  .description("end an identity's access, connections included")
  .argument('<name>', 'such as devices/plant-a/press-3')
  .action(revoke)

withRegistry(program.command('rotate'))
  .description('replace the secret of an identity and print the new one')
  .argument('<name>', 'such as operators/anna')
  .action(rotate)

async function enroll(flags: EnrollFlags): Promise<void> {
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
    true,
  )
}

async function list({ registry: path, role, site, revoked }: ListFlags): Promise<void> {
  await withOpen(path, registry => {
    const entries = registry.list({ role, site, includeRevoked: revoked ?? false })
    if (entries.length === 0) return say('no identities')
    const rows = entries.map(entry => [entry.name, entry.role, day(entry.enrolledAt), stateOf(entry)])
    say(renderTable(['name', 'role', 'enrolled', 'state'], rows))
  })
}

async function show(name: string, flags: { registry: string }): Promise<void> {
  await withOpen(flags.registry, registry => {
    const entry = registry.show(name)
    const history = registry.history(name).map(({ at, action, actor }) => [at, action, actor])
    say(`${entry.name} (${entry.role}): ${stateOf(entry)}\n\n${renderTable(['at', 'was', 'by'], history)}`)
  })
}

async function revoke(name: string, flags: { registry: string }): Promise<void> {
  await withOpen(flags.registry, registry => {
    registry.revoke(name)
    say(`revoked ${name}: the broker ends its connections within a second`)
  })
}

async function rotate(name: string, flags: { registry: string }): Promise<void> {
  await withOpen(flags.registry, async registry => {
    const { secret } = await registry.rotate(name)
    say(`rotated ${name}\nsecret  ${secret}`)
    if (hasAgentConfig(registry.show(name))) say('Put it in broker.secret of the file its agent starts from.')
  })
}

function withRegistry(command: Command): Command {
  return command
    .option('--registry <file>', 'the registry; the first enrolment makes it', '.faultline/registry.db')
    .allowExcessArguments(false)
}

async function withOpen(path: string, work: (registry: Registry) => void | Promise<void>, make = false): Promise<void> {
  // A mistyped path should not answer "no identities".
  if (!make && !existsSync(path)) throw new FaultlineError('CONFIG_INVALID', `--registry: there is no ${path}`)
  const registry = new Registry(path)
  await registry.start()
  try {
    await work(registry)
  } finally {
    await registry.stop()
  }
}

function identityFrom({ role, site, device, id }: EnrollFlags): Identity {
  const usage = (wanted: string) => new FaultlineError('CONFIG_INVALID', `a ${role} is enrolled with ${wanted}`)
  if (role === 'device') {
    if (site === undefined || device === undefined || id !== undefined) throw usage('--site S --device D')
    return identityOf('device', site, device)
  }
  if (id === undefined || site !== undefined || device !== undefined) throw usage(`--role ${role} --id NAME`)
  return identityOf(role, id)
}

function parseRole(text: string): Role {
  if ((roles as readonly string[]).includes(text)) return text as Role
  throw new InvalidArgumentError(`Give one of ${roles.join(', ')}.`)
}

function parseBrokerUrl(text: string): string {
  if (/^(mqtts?|wss?):$/.test(URL.canParse(text) ? new URL(text).protocol : '')) return text
  throw new InvalidArgumentError('Give an address such as mqtt://broker.local:1883.')
}

const day = (time: string): string => time.slice(0, 10)

const stateOf = ({ revokedAt, rotatedAt }: RegistryEntry): string => {
  if (revokedAt) return `revoked ${day(revokedAt)}`
  return rotatedAt ? `active, secret of ${day(rotatedAt)}` : 'active'
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

await runProgram(program)
