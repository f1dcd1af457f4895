import type { TopicAddress, TopicKind } from '@faultline/protocol'
import { toFaultlineError } from '@faultline/protocol'
import { FleetView } from '../dashboard/fleet-view.ts'
import { linkOf, showConnection } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'

interface FleetConfig {
  broker?: string
  normal?: string
  intervalMs?: string | number
}

const kinds: readonly TopicKind[] = ['state', 'server-state', 'health', 'inference', 'summary', 'alarm']

/** `faultline-fleet`: the whole fleet in one message, whenever it has changed and not more often than asked. */
export default function register(red: NodeRed): void {
  function FaultlineFleet(this: RuntimeNode<never>, config: NodeConfig<FleetConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const link = linkOf(red, config.broker)
      const view = new FleetView(config.normal || 'normal')
      let changed = true
      const hide = showConnection(this, link, () => ({ fill: 'green', shape: 'dot', text: 'connected' }))
      const unsubscribe = link.subscribe(kinds, message => {
        view.apply(message)
        changed = true
      })
      const emit = () => {
        if (!changed) return
        changed = false
        this.send({ topic: 'fleet', payload: view.snapshot(new Date()), connected: link.online })
      }
      const touch = () => {
        changed = true
      }
      const clear = (address: TopicAddress) => {
        view.clear(address)
        changed = true
      }
      link.on('cleared', clear)
      link.on('online', touch)
      link.on('offline', touch)
      const timer = setInterval(emit, Math.max(100, Number(config.intervalMs) || 500))
      this.on('close', (_removed, done) => {
        clearInterval(timer)
        link.off('cleared', clear)
        link.off('online', touch)
        link.off('offline', touch)
        unsubscribe()
        hide()
        done()
      })
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      this.status({ fill: 'red', shape: 'ring', text: error.code })
      this.error(error)
    }
  }
  red.nodes.registerType('faultline-fleet', FaultlineFleet as (this: never, config: NodeConfig<FleetConfig>) => void)
}
