import { FaultlineError, parseIdentity, toFaultlineError } from '@faultline/protocol'
import type { BrokerAccess } from '@faultline/runtime'
import { BrokerLink } from '../mqtt/broker-link.ts'
import { begin, end } from './attempt.ts'
import { nodeLogger } from './node-logger.ts'
import type { NodeConfig, NodeRed, NodeStatus, RuntimeNode } from './node-red.ts'

interface BrokerConfig {
  url?: string
  identity?: string
}

interface Credentials {
  secret: string
}

export interface BrokerNode extends RuntimeNode<Credentials> {
  /** Undefined when the configuration is wrong; the node has said so. */
  link: BrokerLink | undefined
}

/** The settings key under which the runner passes what the node's own fields leave open. */
export const settingsKey = 'faultline'

interface RunnerSettings {
  broker?: BrokerAccess & { identity: string }
}

/** `faultline-broker`: one MQTT connection for the nodes that name it. */
export default function register(red: NodeRed): void {
  function FaultlineBroker(this: BrokerNode, config: NodeConfig<BrokerConfig>): void {
    red.nodes.createNode(this as RuntimeNode<never>, config)
    try {
      this.link = new BrokerLink({ ...accessOf(red, config, this.credentials?.secret), logger: nodeLogger(this) })
    } catch (thrown) {
      this.error(toFaultlineError(thrown))
      return
    }
    begin(this as RuntimeNode<never>, this.link.start())
    this.on('close', (_removed, done) => {
      end(this as RuntimeNode<never>, this.link?.stop(), done)
    })
  }
  red.nodes.registerType(
    'faultline-broker',
    FaultlineBroker as (this: never, config: NodeConfig<BrokerConfig>) => void,
    {
      credentials: { secret: { type: 'password' } },
    },
  )
}

/** The broker node a configuration names. Throws `CONFIG_INVALID` when there is none that works. */
export function linkOf(red: NodeRed, id: string | undefined): BrokerLink {
  const link = id === undefined ? undefined : (red.nodes.getNode(id) as BrokerNode | null)?.link
  if (link) return link
  throw new FaultlineError('CONFIG_INVALID', 'no broker is configured for this node')
}

/** Keeps a node's status in step with the connection; `onlineText` says more while it is up. Returns what ends it. */
export function showConnection(node: RuntimeNode<never>, link: BrokerLink, onlineStatus: () => NodeStatus): () => void {
  const show = () => {
    node.status(link.online ? onlineStatus() : { fill: 'yellow', shape: 'ring', text: 'connecting' })
  }
  const problem = (error: FaultlineError) => {
    if (!link.online) node.status({ fill: 'red', shape: 'ring', text: error.code })
  }
  link.on('online', show)
  link.on('offline', show)
  link.on('problem', problem)
  show()
  return () => {
    link.off('online', show)
    link.off('offline', show)
    link.off('problem', problem)
  }
}

/** What the node's fields say; what they leave empty comes from the process that runs Node-RED. */
function accessOf(red: NodeRed, config: BrokerConfig, secret: string | undefined) {
  const given = (red.settings[settingsKey] as RunnerSettings | undefined)?.broker
  const url = config.url || given?.url
  const identity = config.identity || given?.identity
  const { ca, certificate, key } = given ?? {}
  // Certificates are fetched in the process's own name only.
  const enrolment = identity === given?.identity ? given?.enrolment : undefined
  const access = { url: url ?? '', secret: secret || given?.secret, ca, certificate, key, enrolment }
  if (!url) throw new FaultlineError('CONFIG_INVALID', 'the broker has no URL')
  if (!identity) throw new FaultlineError('CONFIG_INVALID', 'the broker has no identity to log in with')
  if (!access.secret && !certificate) {
    throw new FaultlineError('CONFIG_INVALID', `the identity ${identity} has no secret`)
  }
  return { ...access, identity: parseIdentity(identity) }
}
