import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import {
  type InferenceEvent,
  ReplaySource,
  SimulatedSource,
  type Source,
  type SourceWindow,
  sourceConfig,
} from '@faultline/device-agent'
import { ChangeableSource } from '../../device-agent/sources/changeable-source.ts'
import { PointSources } from '../../device-agent/sources/point-sources.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { point, startDevice, type TestDevice } from '../support/edge.ts'
import { ManualSource } from '../support/manual-source.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample, tinyLocalModel, tinyRateHz, tinySamples } from '../support/tiny-models.ts'
import { testSource } from './source-suite.ts'

const input = { samples: 256, rateHz: 1_000 }
const simulated = (seed: number, intervalMs = 1) =>
  new SimulatedSource({ rateHz: 1_000, windowSamples: 256, intervalMs, speed: 1, shaftHz: 29, fault: 'normal', seed })

const finite = (windows: number) =>
  new ReplaySource({
    recording: { id: 'short', rateHz: 1_000 },
    samples: Float32Array.from({ length: windows * 10 }, (_, i) => i),
    windowSamples: 10,
    speed: 5,
  })

testSource({
  name: 'one that can be changed',
  create: async intervalMs => new ChangeableSource(simulated(1, intervalMs)),
})

/** Takes windows until told to stop, and says when there are so many. */
function taking(source: Source) {
  const stopping = new AbortController()
  const windows: SourceWindow[] = []
  let wake = () => {}
  const done = (async () => {
    for await (const window of source.windows(stopping.signal)) {
      windows.push(window)
      wake()
    }
  })()
  const seen = async (condition: () => boolean) => {
    while (!condition()) {
      await Promise.race([
        new Promise<void>(resolve => {
          wake = resolve
        }),
        done,
      ])
    }
  }
  return { windows, seen, done, stop: () => stopping.abort() }
}

test('another source takes over while windows are taken, also one that waits, and overruns go on counting', async () => {
  const slow = Object.assign(new ManualSource(), { overruns: 3 })
  const source = new ChangeableSource(slow)
  const { windows, seen, done, stop } = taking(source)
  source.replace(async () => simulated(2, 5))
  await seen(() => windows.length >= 2)
  assert.equal(source.intervalMs, 5)
  assert.ok(source.overruns >= 3)
  stop()
  await done
})

test('a source that cannot be made is tried again, and the one after it takes its place', async () => {
  const source = new ChangeableSource(simulated(1))
  source.replace(() => Promise.reject(new Error('no such recording')))
  for (let attempt = 0; attempt < 2; attempt++)
    await assert.rejects(taking(source).done, { message: 'no such recording' })
  source.replace(async () => simulated(2))
  const { windows, seen, done, stop } = taking(source)
  await seen(() => windows.length > 0)
  stop()
  await done
})

test('a source that comes to its end is not begun again', async () => {
  const source = new ChangeableSource(finite(3))
  const { windows, done } = taking(source)
  await done
  // On a busy machine some are passed over; begun again, there would be no end.
  assert.ok(windows.length <= 3)
})

test('what only the file may say is refused, and what is no source', async () => {
  const sources = new PointSources(input, [])
  const file = { intervalMs: 1, speed: 1, shaftHz: 29, fault: 'normal', faultAfterS: 0, growthS: 0, seed: 1 } as const
  await sources.open(point, { kind: 'simulated', ...file })
  const refused: [config: Record<string, unknown>, says: RegExp][] = [
    [{ kind: 'command', command: ['sh'], format: 's16le' }, /sources\.motor-de: which program is run only the file/],
    [{ kind: 'mqtt', url: 'mqtt://h', topic: 'a', password: 'x' }, /sources\.motor-de: a password belongs in the file/],
    [{ kind: 'iio', device: 'adxl345' }, /sources\.motor-de: channel/],
    [{ kind: 'oracle' }, /sources\.motor-de: kind/],
  ]
  for (const [config, message] of refused)
    assert.throws(() => sources.check({ [point]: config }), { code: 'CONFIG_INVALID', message })
  assert.throws(() => sources.check({ 'fan-de': { kind: 'simulated' } }), /sources\.fan-de: there is no such point/)
})

test('an operator changes the source of a point, and a restart keeps it', async t => {
  const broker = await startAgentBroker(t)
  const operator = await observe(t, broker)
  const dataDirectory = await temporaryDirectory(t)
  const recording = async (first: number) => {
    const file = join(dataDirectory, `${first}.csv`)
    const samples = Array.from({ length: tinySamples }, (_, i) => (i === 0 ? first : i / 1_000))
    await writeFile(file, samples.join('\n'))
    return { kind: 'file', file, rateHz: tinyRateHz, speed: 5 }
  }
  const ofFile = sourceConfig.parse(await recording(sample.normal))
  const begin = async () => {
    const sources = new PointSources({ samples: tinySamples, rateHz: tinyRateHz }, tinyLocalModel.classes)
    const source = await sources.open(point, ofFile)
    const edge = await startDevice(t, broker, { sources, dataDirectory }, { source })
    await edge.online()
    return edge
  }
  const nextLabel = async ({ agent }: TestDevice, wanted?: string): Promise<string> => {
    const signal = AbortSignal.timeout(20_000)
    for (;;) {
      const [{ inference }] = (await once(agent, 'inference', { signal })) as [InferenceEvent]
      if (wanted === undefined || inference.label === wanted) return inference.label
    }
  }
  const edge = await begin()
  assert.equal(await nextLabel(edge), 'normal')
  await edge.configure(operator, { sources: { [point]: { kind: 'command', command: ['sh'], format: 's16le' } } })
  assert.match(edge.agent.configuration!.error!.message, /only the file/)
  await edge.configure(operator, { sources: { [point]: await recording(sample.fault) } })
  await nextLabel(edge, 'fault')
  assert.equal(edge.agent.configuration!.status, 'applied')
  await edge.agent.stop()
  const again = await begin()
  assert.equal(await nextLabel(again), 'fault')
  await again.configure(operator, { sources: {} })
  await nextLabel(again, 'normal')
})

test('an agent whose sources are not its own refuses to change them', async t => {
  const broker = await startAgentBroker(t)
  const edge = await startDevice(t, broker)
  await edge.online()
  await edge.configure(await observe(t, broker), { sources: { [point]: { kind: 'simulated' } } })
  assert.match(edge.agent.configuration!.error!.message, /sources\.motor-de: cannot be changed here/)
})
