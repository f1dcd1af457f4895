import { FaultlineError, type TopicKind } from '@faultline/protocol'
import { MachineView, type Zones } from '../dashboard/machine-view.ts'
import { giveUp } from './attempt.ts'
import { linkOf } from './broker.ts'
import { readMachinePast } from './machine-past.ts'
import type { NodeConfig, NodeMessage, NodeRed, RuntimeNode } from './node-red.ts'
import { type PageConfig, servePage } from './page-node.ts'
import { learnPast } from './past.ts'
import { storeOf } from './store.ts'

interface MachineConfig extends PageConfig {
  store?: string
  /** Bounds of the zones A to D in mm/s RMS, with commas between, where a machine has none of its own. */
  zones?: string
}

const kinds: readonly TopicKind[] = ['inference', 'summary', 'escalation', 'alarm']
/** ISO 20816-3: machines of 15 to 300 kW on rigid supports. */
const usualZones = '1.4, 2.8, 4.5'

/** `faultline-machine`: one machine in detail, for those who look at it, with its past from the telemetry store. */
export default function register(red: NodeRed): void {
  function FaultlineMachine(this: RuntimeNode<never>, config: NodeConfig<MachineConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const zones = zonesOf((config.zones || usualZones).split(',').map(Number))
      const kept = this.context()
      const view = new MachineView((site, machine) => (kept.get(nameOf(site, machine)) as Zones | undefined) ?? zones)
      servePage(this, {
        link: linkOf(red, config.broker),
        kinds,
        view,
        intervalMs: config.intervalMs,
        onLook: learnPast(view, async key => readMachinePast(await storeOf(red, config.store)(), key, view.heard(key))),
        onRequest: message => {
          if (message.topic !== 'zones') return false
          const { site, machine, limits } = requestOf(message)
          kept.set(nameOf(site, machine), zonesOf(limits))
          return true
        },
      })
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType(
    'faultline-machine',
    FaultlineMachine as (this: never, config: NodeConfig<MachineConfig>) => void,
  )
}

/** Of what the node's context keeps; a dot would be a level of it. */
const nameOf = (site: string, machine: string): string => `zones-${site}-${machine}`.replaceAll('.', '_')

function requestOf({ payload }: NodeMessage): { site: string; machine: string; limits: unknown } {
  const { site, machine, limits } = (payload ?? {}) as Record<string, unknown>
  if (typeof site !== 'string' || typeof machine !== 'string')
    throw new FaultlineError('CONFIG_INVALID', 'the payload names no site and machine')
  return { site, machine, limits }
}

function zonesOf(limits: unknown): Zones {
  const [ab, bc, cd, ...more] = Array.isArray(limits) ? (limits as number[]) : []
  if (more.length === 0 && ab! > 0 && bc! > ab! && cd! > bc! && Number.isFinite(cd)) return [ab!, bc!, cd!]
  throw new FaultlineError('CONFIG_INVALID', 'zones take three growing limits in mm/s')
}
