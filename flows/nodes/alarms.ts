import type { AlarmRow, TelemetryStore } from '@faultline/telemetry'
import { AlarmsView } from '../dashboard/alarms-view.ts'
import { giveUp } from './attempt.ts'
import { linkOf } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'
import { type PageConfig, servePage } from './page-node.ts'
import { learnPast } from './past.ts'
import { storeOf } from './store.ts'

interface AlarmsConfig extends PageConfig {
  store?: string
}

/** Messages of an alarm that are read of the store at a time, and how often; an alarm that stands says its count every five seconds. */
const pageRows = 5_000
const mostPages = 4
/** Rows that say more than a count; more of the past is not shown. */
const enoughChanges = 200

/** `faultline-alarms`: the alarms, for whoever looks at them, with their past from the telemetry store. */
export default function register(red: NodeRed): void {
  function FaultlineAlarms(this: RuntimeNode<never>, config: NodeConfig<AlarmsConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const view = new AlarmsView()
      servePage(this, {
        link: linkOf(red, config.broker),
        kinds: ['alarm'],
        view,
        intervalMs: config.intervalMs,
        onLook: learnPast(view, async key => pastOf(await storeOf(red, config.store)(), key)),
      })
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType('faultline-alarms', FaultlineAlarms as (this: never, config: NodeConfig<AlarmsConfig>) => void)
}

/** The newest changes of an alarm that the store holds. */
async function pastOf(store: TelemetryStore, key: string): Promise<AlarmRow[]> {
  const [site, machine, fault] = key.split('/')
  const rows: AlarmRow[] = []
  let until: number | undefined
  for (let page = 0; page < mostPages; page++) {
    const found = await store.alarms({ site, machine, fault, until, limit: pageRows })
    rows.push(...found.filter((row, i) => i === found.length - 1 || isNews(row, found[i + 1]!)))
    if (found.length < pageRows || rows.length >= enoughChanges) break
    until = found.at(-1)!.time
  }
  return rows
}

/** Whether a row says more than a higher count than the one before it. */
const isNews = (
  { time: _t, windows: _w, ...row }: AlarmRow,
  { time: _bt, windows: _bw, ...before }: AlarmRow,
): boolean => JSON.stringify(row) !== JSON.stringify(before)
