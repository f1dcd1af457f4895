import { type TopicKind, toFaultlineError } from '@faultline/protocol'
import type { TelemetryStore } from '@faultline/telemetry'
import { readCalibrations } from '../dashboard/calibrations.ts'
import { type DecidedWindow, windowOfRow } from '../dashboard/decision-tally.ts'
import { DecisionsView } from '../dashboard/decisions-view.ts'
import { giveUp } from './attempt.ts'
import { linkOf, settingsKey } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'
import { servePage } from './page-node.ts'
import { storeOf } from './store.ts'

interface DecisionsConfig {
  broker?: string
  store?: string
  intervalMs?: string | number
}

const kinds: readonly TopicKind[] = ['state', 'health', 'inference', 'summary', 'config-desired', 'config-reported']
/** Windows before the flows began that are counted for a point that somebody opens, the newest of them. */
const pastWindows = 4_000

/** `faultline-decisions`: how devices decide and what it costs, for whoever looks at it. */
export default function register(red: NodeRed): void {
  function FaultlineDecisions(this: RuntimeNode<never>, config: NodeConfig<DecisionsConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const view = new DecisionsView()
      const asking = new Set<string>()
      const learn = async (key: string): Promise<boolean> => {
        const until = view.lacksPast(key)
        if (until === undefined || asking.has(key)) return false
        asking.add(key)
        try {
          view.remember(key, await pastOf(await storeOf(red, config.store)(), key, until))
        } catch (thrown) {
          view.remember(key, { problem: toFaultlineError(thrown).message })
        }
        asking.delete(key)
        return true
      }
      servePage(this, {
        link: linkOf(red, config.broker),
        kinds,
        view,
        intervalMs: Math.max(100, Number(config.intervalMs) || 500),
        onLook: ({ open }) => learn(open),
      })
      readCalibrations(bundlesOf(red)).then(
        calibrations => {
          view.calibrations = calibrations
        },
        thrown => this.error(toFaultlineError(thrown)),
      )
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType(
    'faultline-decisions',
    FaultlineDecisions as (this: never, config: NodeConfig<DecisionsConfig>) => void,
  )
}

const bundlesOf = (red: NodeRed): readonly string[] =>
  (red.settings[settingsKey] as { bundles?: readonly string[] } | undefined)?.bundles ?? []

/** Oldest first. */
async function pastOf(store: TelemetryStore, key: string, until: number): Promise<DecidedWindow[]> {
  const [site, device, point] = key.split('/')
  const rows = await store.inferences({ site, device, point, until: Math.min(until, 8e12), limit: pastWindows })
  return rows.map(windowOfRow).reverse()
}
