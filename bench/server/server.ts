import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { chooseEngine, type EngineName, loadBundle } from '@faultline/inference'
import { newSecret } from '@faultline/protocol'
import type { Benchmark, Row } from '../benchmark.ts'
import { rowOf } from '../benchmark.ts'
import { Child, startProgram } from './child.ts'
import type { LimitQuestion } from './limit-program.ts'
import type { LoadAnswer, LoadQuestion } from './load-program.ts'
import { childrenOf, processorMs } from './processor.ts'

const models = join(import.meta.dirname, '../../models')
const workers = availableParallelism()

interface Plan {
  batches: readonly number[]
  devices: readonly number[]
  durationMs: number
}
const full: Plan = { batches: [1, 2, 4, 8, 16, 32], devices: [1, 4, 16, 64, 256], durationMs: 4_000 }
const quick: Plan = { batches: [1, 8, 32], devices: [1, 16, 64], durationMs: 1_500 }

/** How near the server agent comes to what its processor can do, and how far a server without batches stays away from it. */
export const serverBenchmark: Benchmark = {
  description: 'the server agent through the broker beside its engine alone and a TCP server without batches',
  async run({ quick: isQuick }) {
    const plan = isQuick ? quick : full
    const rows: Row[] = []
    for (const name of ['image-server', 'bearing-server']) rows.push(...(await measureModel(name, plan)))
    return {
      rows,
      notes: [
        `reference: all the work without messages in ${workers} processes, as many as the agent has workers, at the best batch; before and after, mean`,
        'broker, agent, its workers and the devices share these processors; each device has one window under way',
        'beside a median round trip: what verdicts say of the model; the TCP server has one process',
      ],
    }
  },
}

async function measureModel(name: string, plan: Plan): Promise<Row[]> {
  const directory = join(models, name)
  const { engine } = await chooseEngine(await loadBundle(directory))
  process.stderr.write(`${name}: the engine alone\n`)
  const before = await limitOf(directory, engine, plan)
  process.stderr.write(`${name}: a TCP server\n`)
  const tcp = await throughTcp(directory, engine, plan)
  process.stderr.write(`${name}: the agent\n`)
  const agent = await throughAgent(directory, engine, plan)
  const after = await limitOf(directory, engine, { ...plan, batches: [before.batch] })
  const network = (before.network + after.network) / 2
  const limit = (before.all + after.all) / 2
  return [
    rowOf(`${name}, engine alone, batch ${before.batch}`, 'windows/s', network, limit),
    rowOf(`${name}, unpacking and preparing, too`, 'windows/s', limit),
    rowOf(`${name}, TCP one at a time, ${tcp.devices} devices`, 'windows/s', tcp.load.answered, limit),
    ...agent.levels.flatMap(({ devices, load }) => levelRows(name, devices, load, limit)),
    ...Object.entries(agent.spent).map(([part, ms]) =>
      rowOf(`${name}, ${part}, ${Math.max(...plan.devices)} devices`, 'ms of processor per window', ms),
    ),
    ...tailRows(name, agent.busy),
    ...overloadRows(name, agent.overload),
  ]
}

function levelRows(name: string, devices: number, load: LoadAnswer, limit: number): Row[] {
  const what = `${name}, agent, ${devices} ${devices === 1 ? 'device' : 'devices'}`
  const aim = name === 'image-server' && devices >= 64 ? '>= 0.85' : undefined
  const rows = [rowOf(what, 'windows/s', load.answered, limit, aim)]
  if (load.rejected > 0) rows.push(rowOf(what, 'rejected/s', load.rejected))
  rows.push(rowOf(what, 'ms round trip, p50', load.p50, load.inferMs))
  if (devices === 1) rows.push(rowOf(what, 'ms beside inference, p50', load.p50 - load.inferMs, undefined, '<= 3 ms'))
  return [...rows, rowOf(what, 'ms round trip, p99', load.p99, load.p50)]
}

function tailRows(name: string, { perSecond, load }: { perSecond: number; load: LoadAnswer }): Row[] {
  const what = `${name}, agent, ${Math.round(perSecond)} windows/s at random (80 %)`
  return [
    rowOf(what, 'ms round trip, p50', load.p50, load.inferMs),
    rowOf(what, 'ms round trip, p99', load.p99, load.p50, '<= 3'),
  ]
}

/** What is left of the best throughput when devices ask for three times as much and heed no rejection. */
function overloadRows(name: string, { most, load }: { most: number; load: LoadAnswer }): Row[] {
  const what = `${name}, agent, three times its capacity`
  return [rowOf(what, 'windows/s', load.answered, most, '>= 0.9'), rowOf(what, 'rejected/s', load.rejected)]
}

/** Windows per second of all processors together, without any messages. */
async function limitOf(directory: string, engine: EngineName, { batches, durationMs }: Plan) {
  const children = Array.from({ length: workers }, () => new Child('limit-program.ts', [directory, engine]))
  const together = async (question: LimitQuestion) => {
    const rates = await Promise.all(children.map(child => child.ask<number>(question)))
    return rates.reduce((sum, rate) => sum + rate, 0)
  }
  try {
    await Promise.all(children.map(child => child.hear()))
    let best = { batch: 1, network: 0 }
    for (const batch of batches) {
      const network = await together({ batch, durationMs: durationMs / 3, what: 'network' })
      if (network > best.network) best = { batch, network }
    }
    return { ...best, all: await together({ batch: best.batch, durationMs: durationMs / 3, what: 'all' }) }
  } finally {
    await Promise.all(children.map(child => child.stop()))
  }
}

async function throughTcp(directory: string, engine: EngineName, { durationMs }: Plan) {
  const devices = 16
  const server = new Child('tcp-program.ts', [directory, engine])
  try {
    const port = await server.hear<number>()
    const load = new Child('load-program.ts', [directory, String(devices), 'tcp', String(port)])
    try {
      await load.hear()
      await load.ask<LoadAnswer>({ devices, durationMs: durationMs / 4 } satisfies LoadQuestion)
      return { devices, load: await load.ask<LoadAnswer>({ devices, durationMs } satisfies LoadQuestion) }
    } finally {
      await load.stop()
    }
  } finally {
    await server.stop()
  }
}

async function throughAgent(directory: string, engine: EngineName, plan: Plan) {
  const { devices: levels, durationMs } = plan
  const secret = newSecret()
  const place = await mkdtemp(join(tmpdir(), 'faultline-bench-'))
  const stops: (() => Promise<void>)[] = [() => rm(place, { recursive: true, force: true })]
  try {
    const broker = new Child('broker-program.ts', [secret])
    stops.push(() => broker.stop())
    const url = `mqtt://127.0.0.1:${await broker.hear<number>()}`
    const config = join(place, 'server.yaml')
    await writeFile(config, JSON.stringify({ server: 'bench', broker: { url, secret }, models: [directory], engine }))
    const agent = await startProgram('server-agent/main.ts', ['--config', config], 'connected to the broker')
    stops.push(agent.stop)
    const load = new Child('load-program.ts', [directory, String(Math.max(...levels)), 'mqtt', url, secret])
    stops.push(() => load.stop())
    await load.hear()
    const ask = (question: LoadQuestion) => load.ask<LoadAnswer>(question)
    await ask({ devices: levels[1]!, durationMs: durationMs / 4 })
    const measured: { devices: number; load: LoadAnswer }[] = []
    const parts = {
      broker: [broker.pid],
      agent: [agent.pid],
      workers: childrenOf(agent.pid, 'worker-program'),
      devices: [load.pid],
    }
    let spent: Record<string, number> = {}
    for (const devices of levels) {
      const before = spentBy(parts)
      const answer = await ask({ devices, durationMs })
      // The load lasts a third longer than what is counted of it.
      const windows = (answer.answered * durationMs * 4) / 3_000
      spent = Object.fromEntries(
        Object.entries(spentBy(parts)).map(([part, ms]) => [part, (ms - before[part]!) / windows]),
      )
      measured.push({ devices, load: answer })
    }
    const most = Math.max(...measured.map(({ load }) => load.answered))
    const busy = await ask({ devices: 64, durationMs: 2 * durationMs, perSecond: 0.8 * most })
    const overload = await ask({ devices: 64, durationMs, perSecond: 3 * most })
    return { levels: measured, spent, busy: { perSecond: 0.8 * most, load: busy }, overload: { most, load: overload } }
  } finally {
    for (const stop of stops.reverse()) await stop()
  }
}

/** Milliseconds of processor by part, where the system shows them. */
const spentBy = (parts: Record<string, readonly number[]>): Record<string, number> =>
  Object.fromEntries(
    Object.entries(parts).flatMap(([part, pids]) => {
      const times = pids.map(processorMs)
      if (times.length === 0 || times.includes(undefined)) return []
      return [[part, times.reduce<number>((sum, ms) => sum + ms!, 0)]]
    }),
  )
