import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { createStore, type StoreSettings, storeSettings, type TelemetryStore } from '@faultline/telemetry'
import { settingsKey } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'

interface StoreConfig {
  kind?: string
  path?: string
  url?: string
  database?: string
  username?: string
}

interface Credentials {
  password: string
}

export interface StoreNode extends RuntimeNode<Credentials> {
  /** Opened by the first who needs it, read only. Rejects with `STORE_FAILED` or `STORE_NOT_FOUND`; the next may try again. */
  open: (() => Promise<TelemetryStore>) | undefined
}

/** `faultline-store`: the telemetry store, for the nodes that ask it. */
export default function register(red: NodeRed): void {
  function FaultlineStore(this: StoreNode, config: NodeConfig<StoreConfig>): void {
    red.nodes.createNode(this as RuntimeNode<never>, config)
    let opened: Promise<TelemetryStore> | undefined
    if (!isGiven(red, config)) return
    try {
      const settings = settingsOf(red, config, this.credentials?.password)
      const open = async () => {
        const store = createStore(settings, { readOnly: true })
        await store.start()
        return store
      }
      this.open = () => {
        opened ??= open().catch(error => {
          opened = undefined
          throw error
        })
        return opened
      }
    } catch (thrown) {
      this.error(toFaultlineError(thrown))
    }
    this.on('close', (_removed, done) => {
      Promise.resolve(opened)
        .then(store => store?.stop())
        .catch(() => {})
        .finally(done)
    })
  }
  red.nodes.registerType('faultline-store', FaultlineStore as (this: never, config: NodeConfig<StoreConfig>) => void, {
    credentials: { password: { type: 'password' } },
  })
}

/** The store that a configuration names. Throws `CONFIG_INVALID` when there is none that works. */
export function storeOf(red: NodeRed, id: string | undefined): () => Promise<TelemetryStore> {
  const open = id === undefined ? undefined : (red.nodes.getNode(id) as StoreNode | null)?.open
  if (open) return open
  throw new FaultlineError('CONFIG_INVALID', 'no store is configured for this node')
}

/** Without a store anywhere there is nothing to open; those who need one say so. */
const isGiven = (red: NodeRed, { kind, path, url }: StoreConfig): boolean =>
  Boolean(kind || path || url || (red.settings[settingsKey] as { store?: unknown } | undefined)?.store)

/** What the node's fields say; without a kind, what the process that runs Node-RED was told. */
function settingsOf(red: NodeRed, config: StoreConfig, password: string | undefined): StoreSettings {
  const { kind, path, url, database, username } = config
  const given = (red.settings[settingsKey] as { store?: StoreSettings } | undefined)?.store
  if (!kind && given) return given
  const fields =
    kind === 'influx'
      ? { kind, url, ...(database && { database }), ...(username && { username }), ...(password && { password }) }
      : { kind: kind || 'sqlite', path }
  const parsed = storeSettings.safeParse(fields)
  if (parsed.success) return parsed.data
  throw new FaultlineError('CONFIG_INVALID', 'the store has no file and no URL')
}
