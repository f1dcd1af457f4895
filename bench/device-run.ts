import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeviceAgent, type DeviceAgentOptions, frugalSettings, type Source } from '@faultline/device-agent'
import { loadClassifier } from '@faultline/inference'
import { silentLogger } from '@faultline/runtime'
import { z } from 'zod'
import { benchSecret } from './broker-load.ts'
import { Traffic } from './device-traffic.ts'
import { GivenSource, simulatedWindows } from './device-windows.ts'

export const deviceCases = ['overhead', 'sound', 'sound-paced', 'faulty', 'sound-every'] as const
export type DeviceCase = (typeof deviceCases)[number]
export const deviceFigures = z.record(z.string(), z.number())

const model = join(import.meta.dirname, '../models/bearing-local')
const rounds = 7
const perRound = 300
const warmUp = 500
/** One a second: a whole day where the figure has an aim, as a policy asks most on its first. */
const hours = { sound: 24, 'sound-paced': 24, faulty: 4, 'sound-every': 4 } as const

/** What the file of a device on a metered link says, and for comparison one that reports everything. */
const exception = { reporting: 'exception', ...frugalSettings } as const
const daySettings: Record<Exclude<DeviceCase, 'overhead'>, Partial<DeviceAgentOptions>> = {
  sound: exception,
  'sound-paced': { ...exception, pace: { healthyEveryS: 10 } },
  faulty: exception,
  'sound-every': {},
}
const keepAliveS = 240

const processorMs = async (work: () => Promise<void>): Promise<number> => {
  const since = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(since)
  return (user + system) / 1_000
}
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1]!

async function run(name: DeviceCase, url: string): Promise<Record<string, number>> {
  const { classifier } = await loadClassifier(model, { engine: 'onnx' })
  const windows = simulatedWindows(200, name === 'faulty' ? 'outer-race' : 'normal', 7)
  const bare = async (count: number) => {
    for (let i = 0; i < count; i++) await classifier.classify([windows[i % windows.length]!])
  }
  const dataDirectory = await mkdtemp(join(tmpdir(), 'faultline-bench-'))
  const agentOf = async (sources: Source[], settings: Partial<DeviceAgentOptions>): Promise<DeviceAgent> => {
    const agent = new DeviceAgent({
      site: 'bench',
      device: name,
      broker: { url, secret: benchSecret },
      points: sources.map((source, i) => ({ point: `p${i}`, machine: name === 'faulty' ? 'faulty' : 'sound', source })),
      classifier,
      policy: { name: 'default', parameters: {} },
      price: 0.2,
      prices: null,
      budget: null,
      auditRate: 0.01,
      episodes: 'off',
      deadlineMs: 5_000,
      reporting: 'every',
      summaryIntervalS: 60,
      healthIntervalS: 10,
      dataDirectory,
      seed: 1,
      logger: silentLogger,
      ...settings,
    })
    const online = new Promise<void>(resolve => agent.once('online', () => resolve()))
    await agent.start()
    await online
    return agent
  }
  try {
    return await (name === 'overhead' ? overhead() : day(hours[name] * 3_600, daySettings[name]))
  } finally {
    await rm(dataDirectory, { recursive: true, force: true })
  }

  async function overhead(): Promise<Record<string, number>> {
    const source = new GivenSource(windows)
    const agent = await agentOf([source], { policy: { name: 'never', parameters: {} }, auditRate: 0 })
    await bare(warmUp)
    await source.give(warmUp)
    const times: { bare: number[]; agent: number[] } = { bare: [], agent: [] }
    for (let round = 0; round < rounds; round++) {
      times.bare.push((await processorMs(() => bare(perRound))) / perRound)
      times.agent.push((await processorMs(() => source.give(perRound))) / perRound)
    }
    await agent.stop()
    const besideMs = median(times.agent.map((ms, round) => ms - times.bare[round]!))
    return { bareMs: median(times.bare), agentMs: median(times.agent), besideMs }
  }

  /** Hours of a clock of its own, and what a day of that is. */
  async function day(seconds: number, settings: Partial<DeviceAgentOptions>): Promise<Record<string, number>> {
    const traffic = new Traffic(url, name)
    await traffic.start()
    const source = new GivenSource(windows)
    const agent = await agentOf([source], settings)
    await source.give(seconds)
    const { counters, audits } = agent.health!
    const window = agent.bytesAvoided / Math.max(1, counters.accepted)
    await agent.stop()
    await traffic.stop()
    const { summaryIntervalS = 60, healthIntervalS = 10 } = settings
    const { packets, wire, byKind } = traffic.day({
      seconds,
      summaryIntervalS,
      healthIntervalS,
      keepAliveS,
    })
    return { packets, wire, everything: window * 86_400, audits, judged: counters.windows, ...byKind }
  }
}

// Started by fork: CASE URL
if (process.send) {
  const [name, url] = process.argv.slice(2)
  process.send(await run(name as DeviceCase, url!))
  process.disconnect()
}
