import { createEngine, type EngineName, loadBundle, verifyGolden } from '@faultline/inference'
import { toFaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { medianMs } from './measure.ts'

/** What the process of one engine tells its parent. */
export const engineMessage = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('measured'),
    bundle: z.string(),
    batch: z.int(),
    msPerWindow: z.number(),
    /** The first run of this batch size, and the median of the next ones; the first batch size is also the first after loading. */
    firstMs: z.number(),
    nextMs: z.number(),
  }),
  z.object({ kind: z.literal('failed'), code: z.string(), message: z.string() }),
])
export type EngineMessage = z.infer<typeof engineMessage>

const duration = { measureMs: 400, warmUpMs: 150 }
/** A first run and those it is compared with. */
const runs = 12

async function measure(engine: EngineName, directory: string, batches: readonly number[]): Promise<void> {
  const bundle = await loadBundle(directory)
  const network = await createEngine(engine).load(bundle)
  const { inputs } = bundle.description.golden
  for (const batch of batches) {
    const values = Float32Array.from(Array.from({ length: batch }, (_, i) => inputs[i % inputs.length]!).flat())
    const [firstMs, ...next] = await times(runs, () => network.run(values, batch))
    const nextMs = next.sort((a, b) => a - b)[next.length >> 1]!
    const ms = await medianMs(() => network.run(values, batch), duration)
    send({
      kind: 'measured',
      bundle: bundle.description.name,
      batch,
      msPerWindow: ms / batch,
      firstMs: firstMs!,
      nextMs,
    })
  }
  await verifyGolden(network, bundle)
  await network.dispose()
}

async function times(count: number, work: () => Promise<unknown>): Promise<number[]> {
  const all: number[] = []
  for (let i = 0; i < count; i++) {
    const begun = performance.now()
    await work()
    all.push(performance.now() - begun)
  }
  return all
}

function send(message: EngineMessage): void {
  process.send?.(message)
}

// Started as a program: inference-engine.ts ENGINE BATCHES DIRECTORY...
if (process.send) {
  const [engine, batches = '', ...directories] = process.argv.slice(2)
  try {
    for (const directory of directories) await measure(engine as EngineName, directory, batches.split(',').map(Number))
  } catch (thrown) {
    const { code, message } = toFaultlineError(thrown)
    send({ kind: 'failed', code, message })
  }
  process.disconnect()
}
