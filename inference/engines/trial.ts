import { toFaultlineError } from '@faultline/protocol'
import type { z } from 'zod'
import { verifyGolden } from '../bundle/golden.ts'
import { loadBundle } from '../bundle/loader.ts'
import type { trialReport } from './choose.ts'
import { createEngine } from './create.ts'
import { engineNames } from './engine.ts'

/** The program `chooseEngine` starts per engine: `trial.ts DIRECTORY ENGINE`, reporting over the parent's channel. */
async function trial(directory: string, name: string): Promise<z.infer<typeof trialReport>> {
  try {
    const engine = engineNames.find(known => known === name)
    if (!engine) return { ok: false, code: 'ENGINE_UNAVAILABLE', message: `there is no engine "${name}"` }
    const bundle = await loadBundle(directory)
    const network = await createEngine(engine).load(bundle)
    await verifyGolden(network, bundle)
    await network.dispose()
    return { ok: true }
  } catch (thrown) {
    const { code, message } = toFaultlineError(thrown)
    return { ok: false, code, message }
  }
}

// Without its parent nobody reads the answer.
process.once('disconnect', () => process.exit(1))
const report = await trial(process.argv[2] ?? '', process.argv[3] ?? '')
process.send?.(report, () => process.exit(0))
