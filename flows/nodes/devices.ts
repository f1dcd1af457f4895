import type { TopicKind } from '@faultline/protocol'
import { DevicesView } from '../dashboard/devices-view.ts'
import { giveUp } from './attempt.ts'
import { linkOf } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'
import { type PageConfig, servePage } from './page-node.ts'

const kinds: readonly TopicKind[] = ['state', 'health', 'server-state', 'update-offer', 'update-status']

/** `faultline-devices`: devices, servers and rollouts, for whoever looks at them. */
export default function register(red: NodeRed): void {
  function FaultlineDevices(this: RuntimeNode<never>, config: NodeConfig<PageConfig>): void {
    red.nodes.createNode(this, config)
    try {
      servePage(this, {
        link: linkOf(red, config.broker),
        kinds,
        view: new DevicesView(),
        intervalMs: config.intervalMs,
      })
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType('faultline-devices', FaultlineDevices as (this: never, config: NodeConfig<PageConfig>) => void)
}
