import { type TopicKind, toFaultlineError } from '@faultline/protocol'
import type { TelemetryStore } from '@faultline/telemetry'
import { readCalibrations } from '../dashboard/calibrations.ts'
import { type DecidedWindow, windowOfRow } from '../dashboard/decision-tally.ts'
import { DecisionsView } from '../dashboard/decisions-view.ts'
import { giveUp } from './attempt.ts'
import { linkOf, settingsKey } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'
import { type PageConfig, servePage } from './page-node.ts'
import { learnPast } from './past.ts'
import { storeOf } from './store.ts'

interface DecisionsConfig extends PageConfig {
  store?: string
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
      servePage(this, {
        link: linkOf(red, config.broker),
        kinds,
        view,
        intervalMs: config.intervalMs,
        onLook: learnPast(view, async key => pastOf(await storeOf(red, config.store)(), key, view.since(key))),
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
async function pastOf(store: TelemetryStore, key: string, until: number | undefined): Promise<DecidedWindow[]> {
  const [site, device, point] = key.split('/')
  const rows = await store.inferences({ site, device, point, until, limit: pastWindows })
  return rows.map(windowOfRow).reverse()
}
