import { FaultlineError, type TopicKind, toFaultlineError } from '@faultline/protocol'
import { MachineView } from '../dashboard/machine-view.ts'
import { linkOf, showConnection } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'
import { refuseViewers } from './person.ts'

interface MachineConfig {
  broker?: string
  /** Bounds of the zones A to D in mm/s RMS, with commas between, where a machine has none of its own. */
  zones?: string
}

/** Between A and B, B and C, C and D. */
type Zones = [number, number, number]

const kinds: readonly TopicKind[] = ['inference', 'summary', 'escalation', 'alarm']
/** ISO 20816-3: machines of 15 to 300 kW on rigid supports. */
const usualZones = '1.4, 2.8, 4.5'

/** `faultline-machine`: one machine in detail, for whoever asks. */
export default function register(red: NodeRed): void {
  function FaultlineMachine(this: RuntimeNode<never>, config: NodeConfig<MachineConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const link = linkOf(red, config.broker)
      const view = new MachineView()
      const zones = zonesOf((config.zones || usualZones).split(',').map(Number))
      const kept = this.context()
      const hide = showConnection(this, link, () => ({ fill: 'green', shape: 'dot', text: 'connected' }))
      const unsubscribe = link.subscribe(kinds, message => view.apply(message))
      this.on('input', (message, send, done) => {
        try {
          const { site, machine, limits } = questionOf(message.payload)
          const name = `zones-${site}-${machine}`.replaceAll('.', '_')
          if (limits !== undefined) {
            refuseViewers(message)
            kept.set(name, zonesOf(limits))
          }
          const detail = view.detail(site, machine) ?? { site, machine, points: [], alarms: [] }
          const payload = { ...detail, zones: kept.get(name) ?? zones, at: new Date().toISOString() }
          send({ ...message, topic: 'machine', payload, connected: link.online })
          done()
        } catch (thrown) {
          done(toFaultlineError(thrown))
        }
      })
      this.on('close', (_removed, done) => {
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
  red.nodes.registerType(
    'faultline-machine',
    FaultlineMachine as (this: never, config: NodeConfig<MachineConfig>) => void,
  )
}

function questionOf(payload: unknown): { site: string; machine: string; limits?: unknown } {
  const { site, machine, limits } = (payload ?? {}) as Record<string, unknown>
  if (typeof site !== 'string' || typeof machine !== 'string')
    throw new FaultlineError('CONFIG_INVALID', 'the payload names no site and machine')
  return { site, machine, ...(limits !== undefined && { limits }) }
}

function zonesOf(limits: unknown): Zones {
  const [ab, bc, cd, ...more] = Array.isArray(limits) ? (limits as number[]) : []
  if (more.length === 0 && ab! > 0 && bc! > ab! && cd! > bc! && Number.isFinite(cd)) return [ab!, bc!, cd!]
  throw new FaultlineError('CONFIG_INVALID', 'zones take three growing limits in mm/s')
}
