import { join } from 'node:path'
import { Classifier, Random } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { BearingData } from '../data/bearing-data.ts'
import { consecutiveWindows, type LabelledWindow } from '../data/windows.ts'
import { bearingSignal } from '../training/bearing-models.ts'
import { argmaxRows, type ClassificationMetrics, classificationMetrics } from '../training/metrics.ts'
import { type RmsBaseline, rmsBaseline } from './baseline.ts'
import { type HierarchicalMetrics, hierarchicalMetrics, SHIPPED_PRICE } from './pair.ts'

export interface BearingEvaluation {
  engines: { local: string; server: string }
  local: ClassificationMetrics
  server: ClassificationMetrics
  hierarchical: HierarchicalMetrics
  rmsBaseline: RmsBaseline
}

/** Windows classified in one go: a batch any engine holds in memory. */
const BATCH = 256

/**
 * Asks a pair of bundles about every window of the recordings their own description lists as the test side.
 * Throws the coded errors of bundles, engines and recordings.
 */
export async function evaluateBearings(dataDirectory: string, modelsDirectory: string): Promise<BearingEvaluation> {
  const local = await Classifier.load(join(modelsDirectory, 'bearing-local'))
  const server = await Classifier.load(join(modelsDirectory, 'bearing-server'))
  try {
    const { classes, calibration, training } = local.bundle.description
    const { split } = training
    if (split.test.length === 0)
      throw new FaultlineError(
        'BUNDLE_INVALID',
        `${local.bundle.directory} was not trained on recordings: no test side`,
      )
    const data = await BearingData.open(dataDirectory, bearingSignal.rateHz)
    const random = new Random(0)
    const { samples } = bearingSignal
    const test = await consecutiveWindows(data, split.test, samples, samples, random)
    const known = await consecutiveWindows(data, split.train, samples, samples, random)
    const answers = {
      labels: Uint8Array.from(test, labelled => classes.indexOf(labelled.class)),
      local: await probabilitiesOfAll(local, test),
      server: await probabilitiesOfAll(server, test),
    }
    const metrics = (probabilities: Float32Array) =>
      classificationMetrics(answers.labels, argmaxRows(probabilities, classes.length), classes)
    return {
      engines: { local: local.engine, server: server.engine },
      local: metrics(answers.local),
      server: metrics(answers.server),
      hierarchical: hierarchicalMetrics(answers, classes, calibration.threshold ?? 0, SHIPPED_PRICE),
      rmsBaseline: rmsBaseline(known, test),
    }
  } finally {
    await local.dispose()
    await server.dispose()
  }
}

async function probabilitiesOfAll(classifier: Classifier, windows: readonly LabelledWindow[]): Promise<Float32Array> {
  const rows: number[] = []
  for (let from = 0; from < windows.length; from += BATCH) {
    const batch = windows.slice(from, from + BATCH).map(labelled => labelled.window)
    for (const { classification } of await classifier.classify(batch)) rows.push(...classification.probabilities)
  }
  return Float32Array.from(rows)
}
