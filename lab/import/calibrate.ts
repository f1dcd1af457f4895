import { type BundleDescription, type Network, prepare, probabilitiesOf } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { Progress } from '@faultline/runtime'
import { chooseThreshold, fitCorrectness, fitTemperature, reliabilityOf, temper } from '../training/calibration.ts'
import { argmaxRows, calibrationError, classificationMetrics } from '../training/metrics.ts'
import type { Labelled } from './labelled.ts'
import { labelledImages } from './labelled-images.ts'
import { labelledSignals } from './labelled-signals.ts'

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
/** The price the shipped models' thresholds are made for. */
const PRICE = 0.2
/** A confusion matrix larger than this is for a program, not for `inspect`. */
const MOST_CONFUSED_CLASSES = 20

/**
 * Asks the network about labelled data it was not trained on, and fits its temperature there.
 * Throws `RECORDING_UNREADABLE`, `RECORDING_INVALID` or `WINDOW_INVALID`.
 */
export async function calibrate(network: Network, model: Model, data: string): Promise<Calibration> {
  const { probabilities, labels } = await answersOn(network, model, data)
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
      ...(role === 'local' ? { threshold: thresholdOf(calibrated, answers, labels, classes.length) } : {}),
      reliability,
      ...(role === 'local' ? { correctness: fitCorrectness(calibrated, labels, classes.length) } : {}),
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

/** Which windows to escalate at the price, if the server were always right: it is not known here how right it is. */
function thresholdOf(probabilities: Float32Array, answers: Uint8Array, labels: Uint8Array, classes: number): number {
  const outcomes = Array.from(answers, (answer, row) => ({
    confidence: probabilities[row * classes + answer]!,
    localRight: answer === labels[row],
    serverRight: true,
  }))
  return chooseThreshold(outcomes, PRICE)
}

async function answersOn(network: Network, model: Model, data: string) {
  const { input, classes } = model
  if (classes.length > MOST_CLASSES)
    throw new FaultlineError('CONFIG_INVALID', `more than ${MOST_CLASSES} classes cannot be calibrated`)
  const { count, examples } = await (input.kind === 'image'
    ? labelledImages(data, input, classes)
    : labelledSignals(data, input, classes))
  if (count < FEWEST_SAMPLES)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${data} has ${count} labelled examples; at least ${FEWEST_SAMPLES} are needed to calibrate`,
    )
  const rows: number[][] = []
  const labels: number[] = []
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
  return { probabilities: Float32Array.from(rows.flat()), labels: Uint8Array.from(labels) }
}

function rounded(value: number): number {
  return Number(value.toFixed(4))
}
