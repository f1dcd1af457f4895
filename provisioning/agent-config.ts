import { chmodSync, closeSync, mkdirSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { FaultlineError, type Identity, toFaultlineError } from '@faultline/protocol'
import { stringify } from 'yaml'

export interface BrokerAccess {
  url: string
  secret: string
}

/** The roles whose agents start from a file; the others are given their secret. */
export const hasAgentConfig = ({ role }: Identity): boolean => role === 'device' || role === 'server'

/** What the agent of a device or a server starts from, as YAML: what it cannot do without, to be edited. */
export function agentConfig(identity: Identity, broker: BrokerAccess): string {
  const [program, entries] =
    identity.role === 'device' ? deviceEntries(identity, broker) : serverEntries(identity, broker)
  return `# Start with: npm run ${program} -- --config FILE\n# It holds a secret: keep it to its owner.\n${stringify(entries)}`
}

const deviceEntries = ({ site, id }: Identity, broker: BrokerAccess): [string, object] => [
  'device-agent',
  {
    site,
    device: id,
    broker,
    dataDirectory: join('.faultline', 'data', site!, id),
    model: 'models/bearing-local',
    points: [{ point: 'motor-de', machine: 'motor-1', source: { kind: 'simulated' } }],
  },
]

const serverEntries = ({ id }: Identity, broker: BrokerAccess): [string, object] => [
  'server-agent',
  { server: id, broker, models: ['models/bearing-server'] },
]

/**
 * Writes a new file that only its owner can read, with what `content` gives. The file is claimed first: what `content`
 * does, enrolment, is not done for nothing when the file cannot be written. Throws `CONFIG_EXISTS`, `CONFIG_UNREADABLE`.
 */
export async function writeNewFile(file: string, content: () => Promise<string>): Promise<void> {
  const descriptor = claim(file)
  try {
    chmodSync(file, 0o600) // Whatever the umask took away.
    writeSync(descriptor, await content())
  } catch (error) {
    unlinkSync(file)
    throw error
  } finally {
    closeSync(descriptor)
  }
}

function claim(file: string): number {
  try {
    mkdirSync(dirname(file), { recursive: true })
    return openSync(file, 'wx', 0o600)
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new FaultlineError('CONFIG_EXISTS', `${file} is there already; nothing was enrolled`, { cause })
    }
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE')
  }
}
