import type { Classifier } from '@faultline/inference'
import type { BatchTime } from './batch-times.ts'

/** Runs of each size, of which the fastest counts: what disturbs only ever slows down. */
const mostRuns = 5
/** Sizes of a slow model get fewer runs, two at least: the first one allocates. */
const sizeBudgetMs = 200
/** Doubling the batch once more is given up when twice in a row it gained less than this. */
const leastGain = 0.03

/** Runs a model on batches of 1, 2, 4, … golden inputs, as long as larger ones are faster per window. */
export async function measureBatches(classifier: Classifier, maximum: number): Promise<BatchTime[]> {
  const golden = classifier.bundle.description.golden.inputs.map(row => Float32Array.from(row))
  const measured: BatchTime[] = []
  let fastest = Number.POSITIVE_INFINITY
  for (let batch = 1, gainless = 0; batch <= maximum && gainless < 2; batch *= 2) {
    const inputs = Array.from({ length: batch }, (_, i) => ({ values: golden[i % golden.length]! }))
    const ms = await fastestOf(() => classifier.classifyPrepared(inputs))
    measured.push({ batch, ms })
    gainless = ms / batch > fastest * (1 - leastGain) ? gainless + 1 : 0
    fastest = Math.min(fastest, ms / batch)
  }
  return measured
}

async function fastestOf(run: () => Promise<unknown>): Promise<number> {
  const end = performance.now() + sizeBudgetMs
  let fastest = Number.POSITIVE_INFINITY
  for (let runs = 0; runs < 2 || (runs < mostRuns && performance.now() < end); runs++) {
    const startedAt = performance.now()
    await run()
    fastest = Math.min(fastest, performance.now() - startedAt)
  }
  return fastest
}
