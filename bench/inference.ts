import { fork } from 'node:child_process'
import { existsSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { basename, join } from 'node:path'
import {
  BearingSimulator,
  type Bundle,
  type EngineName,
  engineNames,
  loadBundle,
  prepare,
  Random,
  type Window,
} from '@faultline/inference'
import { SingleBar } from 'cli-progress'
import { type Benchmark, type Row, rowOf } from './benchmark.ts'
import { engineMessage } from './inference-engine.ts'
import { medianMs } from './measure.ts'

const models = join(import.meta.dirname, '../models')
const batches = [1, 8, 32]
/** The engine that runs everywhere, so the one the others have to beat. */
const referenceEngine: EngineName = 'tfjs-wasm'

/** Milliseconds per window by bundle and batch. */
type Figures = Map<string, number>
/** A first run and the median of the next ones, by bundle and batch. */
type FirstRuns = Map<string, { firstMs: number; nextMs: number }>
const keyOf = (bundle: string, batch: number) => `${bundle}, batch ${batch}`

/** The engines on the shipped bundles, and what preparing a window costs before them. */
export const inferenceBenchmark: Benchmark = {
  description: 'the engines on the shipped bundles, at batch 1, 8 and 32, and preparing their inputs',
  async run() {
    const bundles = await shippedBundles()
    const bar = new SingleBar({ stream: process.stderr, format: '{bar} {percentage}% {detail}', barsize: 24 })
    bar.start(bundles.length * batches.length * engineNames.length, 0, { detail: '' })
    const figures = new Map<EngineName, Figures>()
    const notes: string[] = []
    const warmth: Row[] = []
    try {
      for (const engine of engineNames) {
        const measured = await measureEngine(engine, bundles, detail => bar.increment(1, { detail }))
        figures.set(engine, measured.figures)
        for (const [key, { firstMs, nextMs }] of measured.firstRuns)
          warmth.push(rowOf(`${key}, ${engine}, first run`, 'ms', firstMs, nextMs))
        if (measured.absent) notes.push(`${engine} is absent: ${measured.absent}`)
      }
    } finally {
      bar.stop()
    }
    const preparation: Row[] = []
    for (const bundle of bundles) {
      const ms = await preparationMs(bundle)
      preparation.push(rowOf(`${bundle.description.name}, preparation`, 'ms per window', ms))
    }
    return {
      rows: [...comparedRows(bundles, figures), ...warmth, ...preparation],
      notes: [`reference: ${referenceEngine}; of a first run, the median of the next ones`, ...notes],
    }
  },
}

async function shippedBundles(): Promise<Bundle[]> {
  const entries = (await readdir(models)).sort().map(name => join(models, name))
  const directories = entries.filter(directory => existsSync(join(directory, 'bundle.json')))
  return Promise.all(directories.map(directory => loadBundle(directory)))
}

function comparedRows(bundles: readonly Bundle[], figures: Map<EngineName, Figures>): Row[] {
  const rows: Row[] = []
  for (const { description } of bundles) {
    for (const batch of batches) {
      const key = keyOf(description.name, batch)
      const reference = figures.get(referenceEngine)?.get(key)
      for (const [engine, measured] of figures) {
        const ms = measured.get(key)
        if (ms === undefined) continue
        const compared = engine === referenceEngine ? undefined : reference
        const name = `${key}, ${engine}`
        if (compared === undefined) rows.push(rowOf(name, 'ms per window', ms), rowOf(name, 'windows/s', 1_000 / ms))
        else
          rows.push(
            rowOf(name, 'ms per window', ms, compared, '<= 1'),
            rowOf(name, 'windows/s', 1_000 / ms, 1_000 / compared, '>= 1'),
          )
      }
    }
  }
  return rows
}

/** Measures one engine in a process of its own, where no other TF.js backend has to be changed to and from. */
function measureEngine(
  engine: EngineName,
  bundles: readonly Bundle[],
  measured: (detail: string) => void,
): Promise<{ figures: Figures; firstRuns: FirstRuns; absent?: string }> {
  const figures: Figures = new Map()
  const firstRuns: FirstRuns = new Map()
  let absent: string | undefined
  const args = [engine, batches.join(','), ...bundles.map(({ directory }) => directory)]
  const child = fork(join(import.meta.dirname, 'inference-engine.ts'), args, {
    execArgv: ['--import', import.meta.resolve('tsx')],
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  child.on('message', message => {
    const parsed = engineMessage.safeParse(message)
    if (!parsed.success) return
    if (parsed.data.kind === 'failed') {
      absent = `${parsed.data.code}: ${parsed.data.message.split('\n')[0]}`
      return
    }
    const { bundle, batch, msPerWindow } = parsed.data
    const key = keyOf(bundle, batch)
    figures.set(key, msPerWindow)
    firstRuns.set(key, parsed.data)
    measured(`${key}, ${engine}`)
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code, signal) => {
      if (code !== 0) absent ??= `its process ended with ${signal ?? `exit code ${code}`}`
      resolve({ figures, firstRuns, absent })
    })
  })
}

async function preparationMs({ directory, description }: Bundle): Promise<number> {
  const { input } = description
  const random = new Random(basename(directory).length)
  let window: Window
  if (input.kind === 'image') {
    const [a, b, c] = input.shape
    const shape = input.layout === 'hwc' ? [a, b, c] : [b, c, a]
    window = { samples: Float32Array.from({ length: a * b * c }, () => 255 * random.uniform()), shape, rateHz: 0 }
  } else {
    const simulator = new BearingSimulator({ rateHz: input.rateHz, shaftHz: 29.5, fault: 'inner-race', seed: 1 })
    const samples = simulator.next(input.samples)
    window = { samples, shape: [samples.length], rateHz: input.rateHz, shaftHz: simulator.shaftHz }
  }
  return medianMs(() => prepare(window, input), { measureMs: 400, warmUpMs: 150 })
}
