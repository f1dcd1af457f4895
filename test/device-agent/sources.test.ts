import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import {
  createSource,
  ImageSource,
  ReplaySource,
  SimulatedSource,
  type Source,
  sourceConfig,
} from '@faultline/device-agent'
import { FaultlineError } from '@faultline/protocol'
import { temporaryDirectory } from '../support/temp.ts'
import { testSource } from './source-suite.ts'

const rateHz = 12_000
const windowSamples = 256

testSource({
  name: 'simulated',
  create: async intervalMs =>
    new SimulatedSource({ rateHz, windowSamples, intervalMs, shaftHz: 29, fault: 'outer-race', seed: 1 }),
})

const recording = { id: 'r', class: 'ball', rateHz, samples: 40 * windowSamples, shaftHz: 29, group: 'r' } as const
const ramp = Float32Array.from({ length: recording.samples }, (_, i) => i)

testSource({
  name: 'replay',
  create: async intervalMs =>
    new ReplaySource({
      recording,
      samples: ramp,
      windowSamples,
      loop: true,
      speed: ((windowSamples / rateHz) * 1_000) / intervalMs,
    }),
})

const noted = {
  count: 40,
  read: async (index: number) => ({
    window: { samples: new Float32Array(12).fill(index), shape: [2, 2, 3], rateHz: 0 },
    class: index % 2 === 0 ? 'cat' : 'dog',
  }),
}

testSource({
  name: 'images',
  create: async intervalMs => new ImageSource({ images: noted, extents: [2, 2, 3], intervalMs, loop: true }),
})

interface Placed {
  /** Its number, windows that were passed over on a busy machine counted too. */
  place: number
  first: number
  truth: string | undefined
}

/** Windows until the source ends, or so many. */
async function placed(source: Source, limit = Number.POSITIVE_INFINITY): Promise<Placed[]> {
  const stopping = new AbortController()
  const taken: Placed[] = []
  const overrunsBefore = source.overruns
  for await (const { window, truth } of source.windows(stopping.signal)) {
    const place = taken.length + source.overruns - overrunsBefore
    if (taken.push({ place, first: window.samples[0]!, truth }) === limit) stopping.abort()
  }
  return taken
}

const imagesOf = (count: number, loop = false) =>
  new ImageSource({ images: { ...noted, count }, extents: [2, 2, 3], intervalMs: 20, loop })

test('images come in order with what they show, and end with the last one', async () => {
  const taken = await placed(imagesOf(3))
  assert.ok(taken.length > 0)
  for (const { place, first, truth } of taken) {
    assert.ok(place < 3)
    assert.deepEqual([first, truth], [place, ['cat', 'dog', 'cat'][place]])
  }
})

test('images that begin again do so with the first', async () => {
  for (const { place, first } of await placed(imagesOf(3, true), 5)) assert.equal(first, place % 3)
})

test('an image that cannot be read is passed over when the source is taken up again', async () => {
  let torn: number | undefined
  const read: typeof noted.read = async index => {
    if (index > 0 && torn === undefined) {
      torn = index
      throw new FaultlineError('RECORDING_INVALID', 'torn')
    }
    return noted.read(index)
  }
  const source = new ImageSource({ images: { count: 1_000, read }, extents: [2, 2, 3], intervalMs: 20 })
  await assert.rejects(placed(source), { code: 'RECORDING_INVALID' })
  const [next] = await placed(source, 1)
  assert.equal(next!.first, torn! + 1 + next!.place)
})

const fast = { recording, samples: ramp, windowSamples, speed: 1e9 }
const slow = { ...fast, speed: ((windowSamples / rateHz) * 1_000) / 20 }

test('a replay without a loop ends with the last whole window', async () => {
  const taken = await placed(new ReplaySource({ ...slow, from: 256, to: 256 * 3 + 255 }))
  assert.ok(taken.length > 0)
  for (const { place, first } of taken) assert.deepEqual([place < 2, first], [true, 256 * (1 + place)])
})

test('a replay begins again where its range begins', async () => {
  const source = new ReplaySource({ ...slow, from: 100, to: 100 + 512, loop: true })
  for (const { place, first } of await placed(source, 4)) assert.equal(first, place % 2 === 0 ? 100 : 356)
})

test('a replay tells the truth and the shaft speed of its recording', async () => {
  const stopping = new AbortController()
  for await (const { window, truth } of new ReplaySource(fast).windows(stopping.signal)) {
    assert.equal(truth, 'ball')
    assert.equal(window.shaftHz, 29)
    stopping.abort()
  }
})

test('a range outside the recording is refused', () => {
  for (const range of [{ to: recording.samples + 1 }, { from: recording.samples - 10 }]) {
    assert.throws(
      () => new ReplaySource({ ...fast, ...range }),
      (error: unknown) => error instanceof FaultlineError && error.code === 'RECORDING_INVALID',
    )
  }
})

test('a simulated machine is sound until its fault begins, and its level grows with the fault', async () => {
  const source = new SimulatedSource({
    rateHz,
    windowSamples: 2_048,
    intervalMs: 1_000,
    speed: 100,
    shaftHz: 29,
    fault: 'outer-race',
    faultAfterS: 3,
    growthS: 5,
    seed: 1,
  })
  const stopping = new AbortController()
  const levels: { truth?: string; rms: number }[] = []
  for await (const { window, truth } of source.windows(stopping.signal)) {
    levels.push({ truth, rms: Math.sqrt(window.samples.reduce((sum, x) => sum + x * x, 0) / window.samples.length) })
    if (levels.length === 10) stopping.abort()
  }
  assert.equal(levels[0]!.truth, 'normal')
  assert.equal(levels.at(-1)!.truth, 'outer-race')
  assert.ok(levels.at(-1)!.rms > 2 * levels[0]!.rms, JSON.stringify(levels))
})

async function dataset(t: TestContext): Promise<string> {
  const directory = await temporaryDirectory(t)
  const samples = Float32Array.from({ length: 4_096 }, (_, i) => Math.sin(i))
  const bytes = Buffer.from(samples.buffer)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  await writeFile(join(directory, 'press.f32'), bytes)
  const entry = { file: 'press.f32', class: 'inner', samplingRateHz: rateHz, samples: 4_096, sha256, rpm: 1_740 }
  await writeFile(join(directory, 'manifest.json'), JSON.stringify([entry]))
  return directory
}

test('a source is made from its configuration', async t => {
  const directory = await dataset(t)
  const config = sourceConfig.parse({ kind: 'replay', directory, recording: 'press' })
  const source = await createSource(config, { samples: 2_048, rateHz })
  assert.equal(source.windowSamples, 2_048)
  assert.equal(source.rateHz, rateHz)
  const simulated = await createSource(sourceConfig.parse({ kind: 'simulated' }), { samples: 2_048, rateHz })
  assert.equal(simulated.rateHz, rateHz)
})

test('a recording that is not there, or too slow for the band of the model, is refused by name', async t => {
  const directory = await dataset(t)
  const config = (name: string) => sourceConfig.parse({ kind: 'replay', directory, recording: name })
  const refused = (pattern: RegExp) => (error: unknown) =>
    error instanceof FaultlineError && error.code === 'RECORDING_INVALID' && pattern.test(error.message)
  await assert.rejects(createSource(config('drill'), { samples: 2_048, rateHz }), refused(/drill/))
  await assert.rejects(createSource(config('press'), { samples: 2_048, rateHz: 48_000 }), refused(/12000 Hz.*48000 Hz/))
})

test('images go with a model that takes them, and nothing else does', async t => {
  const directory = await temporaryDirectory(t)
  await writeFile(join(directory, 'a.raw'), new Uint8Array(12))
  const input: Parameters<typeof createSource>[1] = {
    kind: 'image',
    shape: [3, 2, 2],
    layout: 'chw',
    mean: [],
    std: [],
  }
  const images = sourceConfig.parse({ kind: 'images', directory })
  const source = await createSource(images, input)
  assert.equal(source.windowSamples, 12)
  const refused = { code: 'CONFIG_INVALID' }
  await assert.rejects(createSource(images, { samples: 2_048, rateHz }), refused)
  const simulated = sourceConfig.parse({ kind: 'simulated' })
  await assert.rejects(createSource(simulated, input), refused)
})
