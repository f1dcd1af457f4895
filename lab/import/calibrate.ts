import { type BundleDescription, type Classifier, type Network, prepare, probabilitiesOf } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { Progress } from '@faultline/runtime'
import { fitTemperature, reliabilityOf, temper } from '../training/calibration.ts'
import { argmaxRows, calibrationError, classificationMetrics } from '../training/metrics.ts'
import { fitPair } from '../training/pair-calibration.ts'
import type { Labelled } from './labelled.ts'
import { labelledData } from './labelled-data.ts'

type Model = Pick<BundleDescription, 'classes' | 'input' | 'normal' | 'output' | 'role'>

export interface Calibration {
  calibration: BundleDescription['calibration']
  metrics: BundleDescription['training']['metrics']
  samples: number
}

const BATCH = 64
/** A temperature fitted on fewer answers says more about them than about the model. */
const FEWEST_SAMPLES = 50
/** Labels are bytes, as in the data sets. */
const MOST_CLASSES = 256
/** A confusion matrix larger than this is for a program, not for `inspect`. */
const MOST_CONFUSED_CLASSES = 20

/**
 * Asks the network about labelled data it was not trained on, and fits its temperature there.
 * Throws `RECORDING_UNREADABLE`, `RECORDING_INVALID` or `WINDOW_INVALID`, and `MODEL_MISMATCH` for a server of other classes.
 * @param server Of a local model: the one that windows will be escalated to, so that its mistakes are counted. Taken to be
 *   always right where absent.
 */
export async function calibrate(
  network: Network,
  model: Model,
  data: string,
  server?: Classifier,
): Promise<Calibration> {
  if (server && server.classes.join() !== model.classes.join())
    throw new FaultlineError('MODEL_MISMATCH', `the server names the classes ${server.classes.join(', ')}`)
  const { probabilities, labels, remote } = await answersOn(network, model, data, server)
  const { classes, normal, role } = model
  const count = labels.length
  const temperature = rounded(fitTemperature(probabilities, labels, classes.length))
  const calibrated = temper(probabilities, classes.length, temperature)
  const reliability = reliabilityOf(calibrated, labels, classes.length)
  const answers = argmaxRows(calibrated, classes.length)
  const { accuracy, macroF1, recall, falseAlarmRate, missedFaultRate, confusion } = classificationMetrics(
    labels,
    answers,
    classes,
    normal === undefined ? undefined : classes.indexOf(normal),
  )
  return {
    samples: count,
    calibration: {
      temperature,
      ...(role === 'local'
        ? fitPair({ labels, local: calibrated, server: remote }, classes.length, server?.bundle.digest)
        : {}),
      reliability,
    },
    metrics: {
      calibrationData: {
        windows: count,
        accuracy,
        macroF1,
        ...(normal === undefined ? {} : { falseAlarmRate, missedFaultRate }),
        calibrationErrorBefore: calibrationError(probabilities, labels, classes.length),
        calibrationError: reliability.calibrationError,
        ...(classes.length <= MOST_CONFUSED_CLASSES ? { recall, confusion } : {}),
      },
    },
  }
}

async function answersOn(network: Network, model: Model, data: string, server: Classifier | undefined) {
  const { input, classes } = model
  if (classes.length > MOST_CLASSES)
    throw new FaultlineError('CONFIG_INVALID', `more than ${MOST_CLASSES} classes cannot be calibrated`)
  const { count, examples } = await labelledData(data, input, classes)
  if (count < FEWEST_SAMPLES)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${data} has ${count} labelled examples; at least ${FEWEST_SAMPLES} are needed to calibrate`,
    )
  const rows: number[][] = []
  const labels: number[] = []
  const remote: number[] = []
  const progress = new Progress('calibrating', count)
  const run = async (batch: readonly Labelled[]) => {
    const prepared = batch.map(({ window }) => prepare(window, input).values)
    const inputs = new Float32Array(batch.length * prepared[0]!.length)
    for (const [i, values] of prepared.entries()) inputs.set(values, i * values.length)
    const outputs = await network.run(inputs, batch.length)
    for (const [i, { label }] of batch.entries()) {
      const row = outputs.subarray(i * classes.length, (i + 1) * classes.length)
      rows.push(probabilitiesOf(row, { output: model.output, calibration: { temperature: 1 } }))
      labels.push(label)
    }
    if (server)
      for (const { classification } of await server.classify(batch.map(({ window }) => window)))
        remote.push(...classification.probabilities)
    progress.update(labels.length)
  }
  try {
    let batch: Labelled[] = []
    for await (const labelled of examples) {
      batch.push(labelled)
      if (batch.length < BATCH) continue
      await run(batch)
      batch = []
    }
    if (batch.length > 0) await run(batch)
  } finally {
    progress.stop()
  }
  return {
    probabilities: Float32Array.from(rows.flat()),
    labels: Uint8Array.from(labels),
    remote: server && Float32Array.from(remote),
  }
}

function rounded(value: number): number {
  return Number(value.toFixed(4))
}
