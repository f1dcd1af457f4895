import { join } from 'node:path'
import { Classifier, chooseEngine, type EngineChoice, loadBundle } from '@faultline/inference'

const shipped = join(import.meta.dirname, '..', 'models')

/** A loaded model with the story of how its engine was found. */
export interface LoadedClassifier {
  classifier: Classifier
  enginesRejected: EngineChoice['rejected']
}

/** The shipped pair: one local model that all simulated devices share, and the server's. */
export async function loadShippedModels(): Promise<{ local: LoadedClassifier; server: LoadedClassifier }> {
  const [local, server] = await Promise.all([load('bearing-local'), load('bearing-server')])
  return { local, server }
}

async function load(name: string): Promise<LoadedClassifier> {
  const directory = join(shipped, name)
  const choice = await chooseEngine(await loadBundle(directory))
  return { classifier: await Classifier.load(directory, choice), enginesRejected: choice.rejected }
}
