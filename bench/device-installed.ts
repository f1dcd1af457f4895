import { EventEmitter, once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Health, identityOf } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { type Row, rowOf } from './benchmark.ts'
import { benchSecret } from './broker-load.ts'
import { rateHz, simulatedWindows, wavOf, windowSamples } from './device-windows.ts'
import type { InstalledAgent } from './installed-agent.ts'

const settleS = 5
const seconds = 40
/** Windows a second of every point. */
const rate = 10
const device = 'installed'
const patienceMs = 60_000

/** Memory of an agent as it is installed, and what eight points at ten windows a second take of a core. */
export async function measureInstalled(agent: InstalledAgent, url: string): Promise<Row[]> {
  const { directory } = agent
  const recording = join(directory, 'recording.wav')
  await writeFile(recording, wavOf(simulatedWindows(40, 'normal', 7)))
  const speed = (windowSamples / rateHz) * rate
  const run = async (points: number) => {
    const dataDirectory = join(directory, `data-${points}`)
    await mkdir(dataDirectory)
    await agent.start({
      site: 'bench',
      device,
      broker: { url, secret: benchSecret },
      dataDirectory,
      model: agent.model,
      engine: 'onnx',
      reporting: 'exception',
      healthIntervalS: 1,
      statusPage: { port: 0 },
      points: Array.from({ length: points }, (_, i) => ({
        point: `p${i}`,
        machine: `m${i}`,
        source: { kind: 'file', file: recording, speed },
      })),
    })
    try {
      return await measure(agent, url)
    } finally {
      await agent.stop()
    }
  }
  const bare = await agent.bareMemory(rate * seconds)
  const one = await run(1)
  const eight = await run(8)
  const mb = (bytes: number) => bytes / 1e6
  return [
    rowOf('installed, 1 point', 'MB of memory', mb(one.memory), mb(bare), '<= 150 MB'),
    rowOf('installed, 8 points at 10/s', 'MB of memory', mb(eight.memory), mb(bare), '<= 150 MB'),
    rowOf('installed, 8 points at 10/s', 'windows per s', eight.windowsPerS, 8 * rate, '>= 0.99'),
    rowOf('installed, 8 points at 10/s', 'windows passed over', eight.overruns),
    rowOf('installed, 8 points at 10/s', 'share of a core', eight.share),
  ]
}

/** Over some time once it runs: memory at its end. */
async function measure(agent: InstalledAgent, url: string) {
  const heard = new EventEmitter()
  const listener = new MqttSession({
    url,
    secret: benchSecret,
    identity: identityOf('operator', 'bench'),
    subscriptions: [`faultline/v1/devices/bench/${device}/health`],
    onMessage: message => {
      if (message.kind === 'health') heard.emit('health', message.payload)
    },
    logger: silentLogger,
  })
  const next = async (): Promise<Health> =>
    ((await once(heard, 'health', { signal: AbortSignal.timeout(patienceMs) })) as [Health])[0]
  await listener.start()
  try {
    await next()
    await delay(settleS * 1_000)
    const before = await next()
    const processorBefore = await agent.processorS()
    await delay(seconds * 1_000)
    const after = await next()
    const elapsedS = after.uptimeS - before.uptimeS
    return {
      memory: await agent.memory(),
      share: ((await agent.processorS()) - processorBefore) / elapsedS,
      windowsPerS: (after.counters.windows - before.counters.windows) / elapsedS,
      overruns: (after.overruns ?? 0) - (before.overruns ?? 0),
    }
  } finally {
    await listener.stop()
  }
}
