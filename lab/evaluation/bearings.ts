import { Random } from '@faultline/inference'
import { BearingData } from '../data/bearing-data.ts'
import { bearingSignal } from '../training/bearing-models.ts'
import { argmaxRows, type ClassificationMetrics, classificationMetrics } from '../training/metrics.ts'
import { classes, everyWindow, knownOf } from './answers.ts'
import { type RmsBaseline, rmsBaseline } from './baseline.ts'
import { type HierarchicalMetrics, hierarchicalMetrics, SHIPPED_PRICE } from './pair.ts'
import { ShippedPair } from './shipped.ts'

export interface BearingEvaluation {
  engines: { local: string; server: string }
  local: ClassificationMetrics
  server: ClassificationMetrics
  hierarchical: HierarchicalMetrics
  rmsBaseline: RmsBaseline
}

/**
 * Asks a pair of bundles about every window of the recordings their own description lists as the test side.
 * Throws the coded errors of bundles, engines and recordings.
 */
export async function evaluateBearings(dataDirectory: string, modelsDirectory: string): Promise<BearingEvaluation> {
  const pair = await ShippedPair.load(modelsDirectory)
  try {
    const data = await BearingData.open(dataDirectory, bearingSignal.rateHz)
    const random = new Random(0)
    const test = await everyWindow(data, pair.split.test, random)
    const known = await everyWindow(data, pair.split.train, random)
    const answers = { labels: knownOf(data, test).labels, ...(await pair.answers(test)) }
    const metrics = (probabilities: Float32Array) =>
      classificationMetrics(answers.labels, argmaxRows(probabilities, classes.length), classes)
    return {
      engines: { local: pair.local.engine, server: pair.server.engine },
      local: metrics(answers.local),
      server: metrics(answers.server),
      hierarchical: hierarchicalMetrics(answers, classes, pair.threshold, SHIPPED_PRICE),
      rmsBaseline: rmsBaseline(known, test),
    }
  } finally {
    await pair.dispose()
  }
}
