import { type Bundle, createEngine, type EngineName, engineNames, verifyGolden } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'

export interface Verification {
  /** Engines that gave the golden outputs. */
  passed: EngineName[]
  /** Engines the bundle has a network for that are not installed. */
  absent: EngineName[]
}

/**
 * Runs the golden inputs on every engine the bundle has a network for.
 * Throws `BUNDLE_GOLDEN_MISMATCH` or `ENGINE_LOAD_FAILED` where one disagrees, `ENGINE_UNAVAILABLE` where none is there.
 */
export async function verifyOnEngines(bundle: Bundle): Promise<Verification> {
  const [passed, absent]: [EngineName[], EngineName[]] = [[], []]
  for (const name of engineNames) {
    const engine = createEngine(name)
    if (!engine.supports(bundle)) continue
    try {
      const network = await engine.load(bundle)
      try {
        await verifyGolden(network, bundle)
      } finally {
        await network.dispose()
      }
      passed.push(name)
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      if (error.code !== 'ENGINE_UNAVAILABLE') throw error
      absent.push(name)
    }
  }
  if (passed.length === 0) throw new FaultlineError('ENGINE_UNAVAILABLE', `no engine here runs ${bundle.directory}`)
  return { passed, absent }
}
