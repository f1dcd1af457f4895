import { Classifier, type ClassifierOptions, type Window } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'

/** Windows classified in one go: a batch any engine holds in memory. */
const BATCH = 256

/**
 * Loads the bundles of a local and a server model, both or none. Throws the coded errors of bundles and engines, and
 * `BUNDLE_INVALID` where `problemOf` finds that they do not go together.
 */
export async function loadPair(
  [localDirectory, serverDirectory]: readonly [local: string, server: string],
  options: ClassifierOptions,
  problemOf: (local: Classifier, server: Classifier) => string | undefined,
): Promise<[local: Classifier, server: Classifier]> {
  const local = await Classifier.load(localDirectory, options)
  try {
    const server = await Classifier.load(serverDirectory, options)
    const problem = problemOf(local, server)
    if (!problem) return [local, server]
    await server.dispose()
    throw new FaultlineError('BUNDLE_INVALID', `${localDirectory} ${problem}`)
  } catch (error) {
    await local.dispose()
    throw error
  }
}

/** Class probabilities for each window, row after row. */
export async function probabilitiesOf(
  classifier: Classifier,
  windows: readonly { window: Window }[],
  onBatch: (windows: number) => void = () => {},
): Promise<Float32Array> {
  const rows: number[] = []
  for (let from = 0; from < windows.length; from += BATCH) {
    const batch = windows.slice(from, from + BATCH).map(labelled => labelled.window)
    for (const { classification } of await classifier.classify(batch)) rows.push(...classification.probabilities)
    onBatch(batch.length)
  }
  return Float32Array.from(rows)
}
