import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Identity, newSecret } from '@faultline/protocol'
import type { BrokerAccess, Logger } from '@faultline/runtime'
import type { StoreSettings } from '@faultline/telemetry'
import { type Accounts, editorAccess } from './users.ts'

export interface FlowsAccess extends BrokerAccess {
  /** Of the role flows. */
  identity: Identity
}

export interface SettingsOptions {
  userDirectory: string
  nodesDirectory: string
  flowFile: string
  port: number
  accounts: Accounts
  /** What the dashboard asks who comes: its middlewares. */
  dashboard: Record<string, unknown>
  /** Encrypts the credentials users type into nodes. */
  credentialKey: string
  broker: FlowsAccess
  store?: StoreSettings
  bundles?: readonly string[]
  logger: Logger
}

export const editorRoot = '/red'

/** Node-RED's settings (https://nodered.org/docs/user-guide/runtime/configuration): a service, not a playground. */
export function nodeRedSettings(options: SettingsOptions): Record<string, unknown> {
  const { userDirectory, nodesDirectory, flowFile, port, broker, logger } = options
  return {
    userDir: userDirectory,
    nodesDir: [nodesDirectory],
    flowFile,
    credentialSecret: options.credentialKey,
    uiPort: port,
    httpAdminRoot: editorRoot,
    httpNodeRoot: '/',
    adminAuth: editorAccess(options.accounts),
    dashboard: options.dashboard,
    telemetry: { enabled: false, updateNotification: false },
    diagnostics: { enabled: false, ui: false },
    externalModules: {
      autoInstall: false,
      palette: { allowInstall: false, allowUpload: false, allowUpdate: false },
      modules: { allowInstall: false },
    },
    functionExternalModules: false,
    // What nodes keep outlives a restart: the zones a person gave a machine.
    contextStorage: { default: { module: 'localfilesystem' } },
    editorTheme: {
      page: { title: 'Faultline flows' },
      header: { title: 'Faultline flows' },
      projects: { enabled: false },
      tours: false,
    },
    logging: { faultline: { level: 'info', handler: () => logTo(logger) } },
    // Read by the broker and store nodes for what their own fields leave open; never part of a flow.
    faultline: {
      broker: { ...broker, identity: broker.identity.name },
      store: options.store,
      bundles: options.bundles,
    },
  }
}

/** A secret that is made at the first start and kept in a file that only its owner can read. */
export async function keptSecret(file: string): Promise<string> {
  try {
    const kept = (await readFile(file, 'utf8')).trim()
    if (kept !== '') {
      await chmod(file, 0o600)
      return kept
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  const secret = newSecret()
  await writeFile(file, `${secret}\n`, { mode: 0o600 })
  return secret
}

export const credentialKeyFile = (userDirectory: string): string => join(userDirectory, 'credential-key')
export const sessionKeyFile = (userDirectory: string): string => join(userDirectory, 'session-key')

interface LogEntry {
  level: number
  msg?: unknown
  type?: string
  id?: string
  name?: string
}

/** Node-RED's levels (`@node-red/util`, log.js): 10 fatal, 20 error, 30 warn, 40 info, 50 debug, 60 trace. */
const logTo =
  (logger: Logger) =>
  ({ level, msg, type, id, name }: LogEntry): void => {
    const text = (msg instanceof Error ? msg.message : String(msg)).trim()
    const source = type === undefined ? {} : { node: name ?? id, type }
    if (level <= 20) logger.error(source, text)
    else if (level <= 30 && type !== undefined) logger.warn(source, text)
    // What Node-RED says of itself is of interest to those who look into Node-RED.
    else if (level <= 30 || (level <= 40 && type?.startsWith('faultline-'))) logger.info(source, text)
    else logger.debug(source, text)
  }
