import { FaultlineError, type TopicKind, toFaultlineError } from '@faultline/protocol'
import { DevicesView } from '../dashboard/devices-view.ts'
import { rolloutOrder } from '../dashboard/rollout-order.ts'
import { RolloutRequests } from '../mqtt/rollout-requests.ts'
import { begin, end, giveUp } from './attempt.ts'
import { linkOf } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'
import { type PageConfig, servePage } from './page-node.ts'
import { personOf } from './person.ts'

const kinds: readonly TopicKind[] = [
  'state',
  'health',
  'server-state',
  'update-offer',
  'update-status',
  'rollout',
  'rollout-service',
]

/** `faultline-devices`: devices, servers and rollouts, for whoever looks at them. */
export default function register(red: NodeRed): void {
  function FaultlineDevices(this: RuntimeNode<never>, config: NodeConfig<PageConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const link = linkOf(red, config.broker)
      const view = new DevicesView()
      const requests = new RolloutRequests(link)
      begin(this, requests.start())
      servePage(this, {
        link,
        kinds,
        view,
        intervalMs: config.intervalMs,
        onRequest: message => {
          if (message.topic !== 'rollout') return false
          if (!view.artifacts)
            throw new FaultlineError('ROLLOUTS_NOT_SERVED', 'no rollout service is connected to the broker')
          const { rollout, command } = rolloutOrder(message.payload, personOf(message)?.name ?? link.identity.name)
          requests.send(rollout, command).catch(thrown => this.error(toFaultlineError(thrown), message))
          return true
        },
      })
      this.on('close', (_removed, done) => end(this, requests.stop(), done))
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType('faultline-devices', FaultlineDevices as (this: never, config: NodeConfig<PageConfig>) => void)
}
