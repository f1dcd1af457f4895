import { Classifier, createEngine, type EngineName } from '@faultline/inference'
import { decodeWindow, encodeWindow } from '@faultline/protocol'
import { windowFor } from './windows.ts'

/** `limit-program.ts DIRECTORY ENGINE`: one core's worth of a model, without any messages. */
export interface LimitQuestion {
  batch: number
  durationMs: number
  /** The network alone, or everything from the bytes of a window to its label. */
  what: 'network' | 'all'
}

const [directory = '', engine] = process.argv.slice(2)
const classifier = await Classifier.load(directory, { engine: engine as EngineName })
const network = await createEngine(engine as EngineName).load(classifier.bundle)
const window = windowFor(classifier.bundle)
const wire = encodeWindow(window)
const { values } = classifier.prepare(window)

async function measure({ batch, durationMs, what }: LimitQuestion): Promise<number> {
  const inputs = Float32Array.from(Array.from({ length: batch }, () => [...values]).flat())
  const run =
    what === 'network'
      ? () => network.run(inputs, batch)
      : () => classifier.classify(Array.from({ length: batch }, () => ({ ...window, ...decodeWindow(wire) })))
  await run()
  const startedAt = performance.now()
  let windows = 0
  for (; performance.now() - startedAt < durationMs; windows += batch) await run()
  return windows / ((performance.now() - startedAt) / 1_000)
}

process.on('message', (question: LimitQuestion) => {
  measure(question).then(
    rate => process.send?.(rate),
    error => {
      console.error(error)
      process.exit(1)
    },
  )
})
process.once('disconnect', () => process.exit(0))
process.send?.('ready')
