import { type Bundle, type Classifier, FEWEST_CONTRADICTIONS, recalibrateBundle } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { type Command, Progress } from '@faultline/runtime'
import { loadPair, probabilitiesOf } from './evaluation/classifiers.ts'
import { heldOut } from './training/held-out.ts'
import { argmaxRows } from './training/metrics.ts'
import { fitPair } from './training/pair-calibration.ts'

export interface Recalibration {
  bundle: Bundle
  /** Held-out windows, and those on which the two differ. */
  windows: number
  contradictions: number
  /** False where there were too few of these: the bundle is as it was. */
  changed: boolean
}

/**
 * Fits threshold, correctness and the server's trust of a local bundle anew, on windows that trained neither model of the pair, and
 * leaves the networks and the temperature. Throws the coded errors of bundles, engines and recordings, and
 * `MODEL_MISMATCH` for two that do not go together.
 */
export async function recalibrate(localBundle: string, serverBundle: string, data: string): Promise<Recalibration> {
  const [local, server] = await loadPair([localBundle, serverBundle], {}, problemOf)
  try {
    const { description } = local.bundle
    const windows = await heldOut(description, data)
    const progress = new Progress('asking both models', 2 * windows.length)
    let done = 0
    const onBatch = (count: number) => {
      done += count
      progress.update(done)
    }
    const answers = {
      labels: Uint8Array.from(windows, ({ label }) => label),
      local: await probabilitiesOf(local, windows, onBatch),
      server: await probabilitiesOf(server, windows, onBatch),
    }
    progress.stop()
    const { length } = description.classes
    const own = fitPair(answers, length, server.bundle.digest)
    const remote = argmaxRows(answers.server, length)
    const contradictions = argmaxRows(answers.local, length).filter((label, row) => label !== remote[row]).length
    const { temperature, reliability } = description.calibration
    const changed = own.server !== undefined
    const bundle = changed
      ? await recalibrateBundle(local.bundle, { temperature, ...own, ...(reliability && { reliability }) })
      : local.bundle
    return { bundle, windows: windows.length, contradictions, changed }
  } finally {
    await local.dispose()
    await server.dispose()
  }
}

function problemOf(local: Classifier, server: Classifier): string | undefined {
  const [one, other] = [local.bundle.description, server.bundle.description]
  if (one.role !== 'local') return 'is no local model'
  if (one.classes.join() !== other.classes.join()) return 'does not name the classes of the server model'
  const sides = [one, other].map(({ training }) => JSON.stringify(training.split.validation))
  // What one of them was trained on would make it look better than it is.
  if (sides[0] !== sides[1]) return 'was not held out from the same windows as the server model'
  return undefined
}

/** `models -- calibrate`. */
export function addCalibrateCommand(program: Command): void {
  program
    .command('calibrate')
    .description("fit a local bundle's threshold and calibration again, beside its server model; nothing is trained")
    .argument('<local>', 'bundle of the local model, which is rewritten')
    .requiredOption('--server <bundle>', 'bundle of the server model')
    .requiredOption(
      '--data <path>',
      'where the validation side that the bundles name lies; labelled data that trained neither, where they name none',
    )
    .action(async (directory: string, { server, data }: { server: string; data: string }) => {
      const { bundle, windows, contradictions, changed } = await recalibrate(directory, server, data)
      const found = `the two differ on ${contradictions} of ${windows} windows`
      if (!changed)
        throw new FaultlineError(
          'RECORDING_INVALID',
          `${found}, and ${FEWEST_CONTRADICTIONS} are needed to say how far the server is to be believed; ${directory} is as it was`,
        )
      process.stdout.write(`${directory}: ${found}; threshold ${bundle.description.calibration.threshold}\n`)
      process.stdout.write(`${directory}: ${bundle.description.name}, now ${bundle.digest}\n`)
    })
}
