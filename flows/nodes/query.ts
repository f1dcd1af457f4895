import { describeIssue, FaultlineError } from '@faultline/protocol'
import { type CountTag, countTags, measurements, type TelemetryStore } from '@faultline/telemetry'
import { z } from 'zod'
import { attempt, giveUp } from './attempt.ts'
import type { NodeConfig, NodeRed, NodeStatus, RuntimeNode } from './node-red.ts'
import { storeOf } from './store.ts'

interface QueryConfig {
  store?: string
  question?: string
  hours?: string | number
  site?: string
  machine?: string
}

/** Milliseconds since 1970, or ISO 8601. */
const time = z.union([z.number(), z.iso.datetime({ offset: true }).transform(text => Date.parse(text))])
const name = z.string().min(1)
const range = {
  site: name.optional(),
  device: name.optional(),
  point: name.optional(),
  machine: name.optional(),
  since: time,
  until: time.optional(),
}

type Ask = (store: TelemetryStore, query: Record<string, unknown>) => Promise<unknown>

/** Every question with the fields it takes. */
const questions = {
  inferences: question(z.strictObject({ ...range, limit: z.int().optional() }), (store, query) =>
    store.inferences(query),
  ),
  counts: question(
    z.strictObject({
      ...range,
      groupBy: z.array(z.enum(countTags as readonly [CountTag, ...CountTag[]])).default(['site', 'machine', 'label']),
    }),
    (store, query) => store.counts(query),
  ),
  audits: question(z.strictObject(range), (store, query) => store.audits(query)),
  updates: question(
    z.strictObject({ ...range, limit: z.int().optional() }).omit({ point: true, machine: true }),
    (store, query) => store.updates(query),
  ),
  series: question(
    z.strictObject({ ...range, measurement: z.enum(measurements), field: name, every: z.int().positive() }),
    (store, query) => store.series(query),
  ),
}

function question<S extends z.ZodType>(
  schema: S,
  ask: (store: TelemetryStore, query: z.infer<S>) => Promise<unknown>,
): Ask {
  return async (store, query) => {
    const parsed = schema.safeParse(query)
    if (!parsed.success) throw new FaultlineError('MESSAGE_INVALID', describeIssue(parsed.error, 'query'))
    return ask(store, parsed.data)
  }
}

const ready = (): NodeStatus => ({})

/** `faultline-query`: asks the telemetry store. */
export default function register(red: NodeRed): void {
  function FaultlineQuery(this: RuntimeNode<never>, config: NodeConfig<QueryConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const open = storeOf(red, config.store)
      const ask = questions[(config.question || 'inferences') as keyof typeof questions]
      if (!ask) throw new FaultlineError('CONFIG_INVALID', `there is no question "${config.question}"`)
      const hours = Number(config.hours) || 24
      this.on(
        'input',
        attempt(this, ready, async ({ payload }) => {
          const query = {
            ...(config.site && { site: config.site }),
            ...(config.machine && { machine: config.machine }),
            since: Date.now() - hours * 3_600_000,
            ...(typeof payload === 'object' && payload !== null && payload),
          }
          return { payload: await ask(await open(), query), query }
        }),
      )
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType('faultline-query', FaultlineQuery as (this: never, config: NodeConfig<QueryConfig>) => void)
}
