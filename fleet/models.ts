import { join } from 'node:path'
import { type LoadedClassifier, loadClassifier } from '@faultline/inference'

const shipped = join(import.meta.dirname, '..', 'models')

/** Where the local model lies that all simulated devices share. */
export const localBundle = join(shipped, 'bearing-local')

/** The shipped pair: one local model that all simulated devices share, and the server's. */
export async function loadShippedModels(): Promise<{ local: LoadedClassifier; server: LoadedClassifier }> {
  const [local, server] = await Promise.all(
    ['bearing-local', 'bearing-server'].map(name => loadClassifier(join(shipped, name))),
  )
  return { local: local!, server: server! }
}
