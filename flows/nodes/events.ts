import { type Message, type TopicKind, toFaultlineError, topicKinds, topicOf } from '@faultline/protocol'
import { type EventFilter, matches } from '../mqtt/event-filter.ts'
import { linkOf, showConnection } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'

interface EventsConfig {
  broker?: string
  kinds?: string[]
  site?: string
  machine?: string
  label?: string
}

/** `faultline-events`: messages of the fleet, checked and typed, as they come. */
export default function register(red: NodeRed): void {
  function FaultlineEvents(this: RuntimeNode<never>, config: NodeConfig<EventsConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const link = linkOf(red, config.broker)
      const kinds = topicKinds.filter((kind): kind is TopicKind => config.kinds?.includes(kind) ?? false)
      const filter: EventFilter = { site: config.site, machine: config.machine, label: config.label }
      let passed = 0
      const hide = showConnection(this, link, () => ({ fill: 'green', shape: 'dot', text: 'connected' }))
      const unsubscribe = link.subscribe(kinds, message => {
        if (!matches(filter, message)) return
        passed++
        this.send(toNodeMessage(message))
      })
      this.on('close', (_removed, done) => {
        unsubscribe()
        hide()
        this.debug(`${passed} messages passed`)
        done()
      })
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      this.status({ fill: 'red', shape: 'ring', text: error.code })
      this.error(error)
    }
  }
  red.nodes.registerType('faultline-events', FaultlineEvents as (this: never, config: NodeConfig<EventsConfig>) => void)
}

/** A message of the fleet as it travels along wires. */
export const toNodeMessage = ({ kind, address, payload }: Message) => ({
  topic: topicOf(address),
  payload,
  faultline: { kind, address },
})
