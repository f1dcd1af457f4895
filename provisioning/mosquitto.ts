import { existsSync } from 'node:fs'
import { copyFile, mkdir } from 'node:fs/promises'
import { userInfo } from 'node:os'
import { join, resolve } from 'node:path'
import { accessRules, type Identity, ruleFor } from '@faultline/protocol'
import { createServerCertificate } from '@faultline/runtime'
import { authorityPaths, loadAuthority } from './authority.ts'
import { replaceFile } from './own-file.ts'
import type { Registry } from './registry.ts'

export interface MosquittoOptions {
  /** Where the files are, and where Mosquitto keeps its store. */
  directory: string
  /** MQTT over TLS. */
  port: number
}

/** How long Mosquitto's certificate is good. */
const certificateDays = 365

/** Names of what a Mosquitto for a fleet is made of, below its directory. */
export const mosquittoFiles = {
  configuration: 'mosquitto.conf',
  accessList: 'acl',
  ca: 'ca.pem',
  certificate: 'broker.pem',
  key: 'broker.key',
  more: 'conf.d',
} as const

/**
 * `mosquitto.conf` (mosquitto.conf(5), 2.0): TLS alone, a client is who its certificate names, and that is its client id.
 * Secrets are of no use to Mosquitto: the registry has them hashed by scrypt, which it does not know.
 */
export function mosquittoConfiguration({ directory, port }: MosquittoOptions): string {
  const path = (name: string) => join(resolve(directory), name)
  return `# Made by: npm run provision -- mosquitto. Made anew with every run; after a change send Mosquitto SIGHUP.
per_listener_settings false
${userLine()}listener ${port}
tls_version tlsv1.2
cafile ${path(mosquittoFiles.ca)}
certfile ${path(mosquittoFiles.certificate)}
keyfile ${path(mosquittoFiles.key)}
# The common name of the certificate is the identity, and the client id: nobody can take another's session.
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
acl_file ${path(mosquittoFiles.accessList)}
# Sessions, retained and queued messages outlive Mosquitto when it is stopped; when it is killed, all but the last minute.
persistence true
persistence_location ${resolve(directory)}/
autosave_interval 60
persistent_client_expiration 1d
max_queued_messages 10000
max_inflight_messages 100
log_dest stderr
# Settings of your own: files *.conf in here are left alone.
include_dir ${path(mosquittoFiles.more)}
`
}

/** The access list (mosquitto.conf(5), ACL FILE): the rights of each identity's role. Who is not in it has none. */
export function mosquittoAccessList(identities: readonly Identity[]): string {
  const blocks = identities.map(identity => {
    const { name, role } = identity
    const { publish, subscribe } = accessRules[role]
    const rights = [...publish.map(rule => ['write', rule]), ...subscribe.map(rule => ['read', rule])]
    return [`user ${name}`, ...rights.map(([access, rule]) => `topic ${access} ${ruleFor(rule!, identity)}`)].join('\n')
  })
  return `# Made by: npm run provision -- mosquitto.\n\n${blocks.join('\n\n')}\n`
}

/**
 * Writes what a Mosquitto runs on, over what is there; its certificate only where there is none. Gives how many identities
 * have rights. Throws `AUTHORITY_MISSING`, `CONFIG_UNREADABLE`.
 */
export async function writeMosquitto(
  registry: Registry,
  registryPath: string,
  { hosts, ...options }: MosquittoOptions & { hosts: string[] },
): Promise<number> {
  const authority = await loadAuthority(registryPath)
  const at = (name: keyof typeof mosquittoFiles) => join(options.directory, mosquittoFiles[name])
  await mkdir(at('more'), { recursive: true })
  await copyFile(authorityPaths(registryPath).certificate, at('ca'))
  if (!existsSync(at('certificate'))) {
    const { certificate, key } = await createServerCertificate(authority, hosts, certificateDays)
    await replaceFile(at('key'), key, 0o600)
    await replaceFile(at('certificate'), certificate, 0o644)
    registry.record('server-certified', 'registry', `${hosts.join(', ')}, for Mosquitto`)
  }
  const identities = registry.list()
  await replaceFile(at('configuration'), mosquittoConfiguration(options), 0o644)
  await replaceFile(at('accessList'), mosquittoAccessList(identities), 0o600)
  return identities.length
}

/** Started as root, Mosquitto becomes a user of its own, who may not read what this one wrote. */
function userLine(): string {
  try {
    return `user ${userInfo().username}\n`
  } catch {
    return '' // A container may have no entry for its user.
  }
}
