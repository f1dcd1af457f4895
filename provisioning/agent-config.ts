import { join } from 'node:path'
import { FaultlineError, type Identity } from '@faultline/protocol'
import { accessProblem, type BrokerAccess, configVersion } from '@faultline/runtime'
import { stringify } from 'yaml'
import type { Claim } from './claims.ts'

/** The roles whose agents start from a file; the others are given their secret. */
export const hasAgentConfig = ({ role }: Identity): boolean => role === 'device' || role === 'server'

/** Where an agent keeps what is its own. */
export const dataDirectoryOf = ({ name, role, site, id }: Identity): string =>
  join('.faultline', 'data', role === 'device' ? join(site!, id) : name)

/**
 * How an agent reaches the broker when it is to claim its certificate: where the service is, and where the files go.
 * Throws `CONFIG_INVALID` for a broker without TLS.
 */
export function claimingAccess(
  directory: string,
  { url, enrolmentUrl, fingerprint, claim }: { url: string; enrolmentUrl: string; fingerprint: string; claim: Claim },
): BrokerAccess {
  const access = {
    url,
    ca: join(directory, 'ca.pem'),
    certificate: join(directory, 'agent.pem'),
    key: join(directory, 'agent.key'),
    enrolment: { url: enrolmentUrl, token: claim.token, fingerprint },
  }
  const problem = accessProblem(access)
  if (problem) throw new FaultlineError('CONFIG_INVALID', `--broker-url: ${problem}`)
  return access
}

/** What the agent of a device or a server starts from, as YAML: what it cannot do without, to be edited. */
export function agentConfig(identity: Identity, broker: BrokerAccess, changes: object = {}, start?: string): string {
  const [program, entries] =
    identity.role === 'device' ? deviceEntries(identity, broker) : serverEntries(identity, broker)
  return `# ${start ?? `Start with: npm run ${program} -- --config FILE`}\n# It holds a secret: keep it to its owner.\n${stringify({ version: configVersion, ...entries, ...changes })}`
}

const deviceEntries = (identity: Identity, broker: BrokerAccess): [string, object] => [
  'device-agent',
  {
    site: identity.site,
    device: identity.id,
    broker,
    dataDirectory: dataDirectoryOf(identity),
    model: 'models/bearing-local',
    points: [{ point: 'motor-de', machine: 'motor-1', source: { kind: 'simulated' } }],
  },
]

const serverEntries = ({ id }: Identity, broker: BrokerAccess): [string, object] => [
  'server-agent',
  { server: id, broker, models: ['models/bearing-server'] },
]
