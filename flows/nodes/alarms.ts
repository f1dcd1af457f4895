import { toFaultlineError } from '@faultline/protocol'
import type { AlarmRow, TelemetryStore } from '@faultline/telemetry'
import { AlarmsView } from '../dashboard/alarms-view.ts'
import { giveUp } from './attempt.ts'
import { linkOf } from './broker.ts'
import type { NodeConfig, NodeRed, RuntimeNode } from './node-red.ts'
import { servePage } from './page-node.ts'
import { storeOf } from './store.ts'

interface AlarmsConfig {
  broker?: string
  store?: string
  intervalMs?: string | number
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
      const asking = new Set<string>()
      const learn = async (key: string): Promise<boolean> => {
        if (asking.has(key) || !view.lacksPast(key)) return false
        asking.add(key)
        try {
          view.remember(key, await pastOf(await storeOf(red, config.store)(), key))
        } catch (thrown) {
          view.remember(key, { problem: toFaultlineError(thrown).message })
        }
        asking.delete(key)
        return true
      }
      servePage(this, {
        link: linkOf(red, config.broker),
        kinds: ['alarm'],
        view,
        intervalMs: Math.max(100, Number(config.intervalMs) || 500),
        onLook: ({ open }) => learn(open),
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
