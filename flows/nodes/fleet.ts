import type { TopicKind } from '@faultline/protocol'
import { FleetView } from '../dashboard/fleet-view.ts'
import { giveUp } from './attempt.ts'
import { linkOf } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'
import { type PageConfig, servePage } from './page-node.ts'

interface FleetConfig extends PageConfig {
  normal?: string
}

const kinds: readonly TopicKind[] = [
  'state',
  'server-state',
  'health',
  'config-reported',
  'inference',
  'summary',
  'alarm',
]

/** `faultline-fleet`: the fleet, for whoever looks at it. */
export default function register(red: NodeRed): void {
  function FaultlineFleet(this: RuntimeNode<never>, config: NodeConfig<FleetConfig>): void {
    red.nodes.createNode(this, config)
    try {
      servePage(this, {
        link: linkOf(red, config.broker),
        kinds,
        view: new FleetView(config.normal || 'normal'),
        intervalMs: config.intervalMs,
      })
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType('faultline-fleet', FaultlineFleet as (this: never, config: NodeConfig<FleetConfig>) => void)
}
