import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeviceAgent, type DeviceAgentOptions, ReplaySource, type Source } from '@faultline/device-agent'
import { loadClassifier } from '@faultline/inference'
import { silentLogger } from '@faultline/runtime'
import { z } from 'zod'
import { benchSecret } from './broker-load.ts'
import { GivenSource, rateHz, simulatedWindows, windowSamples } from './device-windows.ts'

export const deviceCases = ['bare', 'overhead', 'eight-points', 'healthy', 'faulty', 'default-healthy'] as const
export type DeviceCase = (typeof deviceCases)[number]
export const deviceFigures = z.record(z.string(), z.number())

const model = join(import.meta.dirname, '../models/bearing-local')
const rounds = 7
const perRound = 300
const warmUp = 500
const dayWindows = 7_200
const seconds = 10

/** By exception and rarely while all is well: what a metered link is made for. */
export const frugal = {
  reporting: 'exception',
  summaryIntervalS: 300,
  healthIntervalS: 300,
  auditRate: 0.005,
  pace: { healthyEveryS: 10 },
} as const

const processorMs = async (work: () => Promise<void>): Promise<number> => {
  const since = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(since)
  return (user + system) / 1_000
}
const median = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!

async function run(name: DeviceCase, url: string): Promise<Record<string, number>> {
  const { classifier } = await loadClassifier(model, { engine: 'onnx' })
  const windows = simulatedWindows(200, name === 'faulty' ? 'outer-race' : 'normal', 7)
  const bare = async (count: number) => {
    for (let i = 0; i < count; i++) await classifier.classify([windows[i % windows.length]!])
  }
  if (name === 'bare') {
    await bare(warmUp)
    return { memoryBytes: process.memoryUsage.rss() }
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
    if (name === 'overhead') return await overhead()
    if (name === 'eight-points') return await eightPoints()
    return await day(name === 'default-healthy' ? {} : frugal)
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
    const memoryBytes = process.memoryUsage.rss()
    await agent.stop()
    return { bareMs: median(times.bare), agentMs: median(times.agent), memoryBytes }
  }

  async function eightPoints(): Promise<Record<string, number>> {
    const samples = new Float32Array(windows.length * windowSamples)
    for (const [i, window] of windows.entries()) samples.set(window.samples, i * windowSamples)
    const recording = { id: 'bench', rateHz, shaftHz: 29 }
    const speed = (windowSamples / rateHz) * 10
    const sources = Array.from(
      { length: 8 },
      () => new ReplaySource({ recording, samples, windowSamples, loop: true, speed }),
    )
    const agent = await agentOf(sources, { ...frugal, pace: {} })
    await new Promise(resolve => setTimeout(resolve, 1_000))
    const before = agent.health!.counters.windows
    const since = performance.now()
    const busyMs = await processorMs(() => new Promise(resolve => setTimeout(resolve, seconds * 1_000)))
    const elapsedMs = performance.now() - since
    const { counters, overruns = 0 } = agent.health!
    const memoryBytes = process.memoryUsage.rss()
    await agent.stop()
    const judged = counters.windows - before
    return { share: busyMs / elapsedMs, windowsPerS: judged / (elapsedMs / 1_000), overruns, memoryBytes }
  }

  /** Two hours of a clock of its own, and what a day of that is; summaries and health by their size and number. */
  async function day(settings: Partial<DeviceAgentOptions>): Promise<Record<string, number>> {
    const source = new GivenSource(windows)
    const agent = await agentOf([source], { reporting: 'exception', ...settings })
    const { summaryIntervalS = 60, healthIntervalS = 10 } = settings
    const start = agent.health!.bytes.sent
    await source.give(dayWindows)
    const { bytes, counters } = agent.health!
    const events = bytes.sent - start
    const health = Buffer.byteLength(JSON.stringify(agent.health))
    const escalation = agent.bytesAvoided / Math.max(1, counters.accepted)
    await agent.stop()
    // What a stop sends: a summary, and whatever was still under way. More than a summary is, never less.
    const summary = agent.health!.bytes.sent - bytes.sent
    const perDay = 86_400 / dayWindows
    return {
      bytesPerDay: events * perDay + (health * 86_400) / healthIntervalS + (summary * 86_400) / summaryIntervalS,
      everythingPerDay: escalation * 86_400,
      judged: counters.windows,
    }
  }
}

// Started by fork: CASE URL
if (process.send) {
  const [name, url] = process.argv.slice(2)
  process.send(await run(name as DeviceCase, url!))
  process.disconnect()
}
