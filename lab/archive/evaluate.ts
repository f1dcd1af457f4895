import { Classifier } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { type Command, Option } from '@faultline/runtime'
import { probabilitiesOf } from '../evaluation/classifiers.ts'
import { everyExample, labelledData } from '../import/labelled-data.ts'
import { plainTable } from '../report/table.ts'
import { argmaxRows, type ClassificationMetrics, calibrationError, classificationMetrics } from '../training/metrics.ts'
import { type Side, sides } from './division.ts'
import { describeDataset } from './exported.ts'

export interface HardEvaluation extends ClassificationMetrics {
  /** As `name:version`. */
  model: string
  calibrationError: number
  /** The class that means nothing is wrong, where the model has one. */
  normal: string | undefined
}

/**
 * What bundles make of one side of an exported archive. Throws `RECORDING_INVALID` for a directory that is no export or a side without windows
 * that a model takes, and the coded errors of bundles and engines.
 */
export async function evaluateOnHard(
  dataset: string,
  side: Side,
  bundles: readonly string[],
): Promise<HardEvaluation[]> {
  if (!(await describeDataset(dataset)))
    throw new FaultlineError('RECORDING_INVALID', `${dataset} is no data set that was exported`)
  const evaluations: HardEvaluation[] = []
  for (const bundle of bundles) {
    const classifier = await Classifier.load(bundle)
    try {
      evaluations.push(await evaluate(classifier, dataset, side))
    } finally {
      await classifier.dispose()
    }
  }
  return evaluations
}

async function evaluate(classifier: Classifier, dataset: string, side: Side): Promise<HardEvaluation> {
  const { input, classes, bundle } = classifier
  const { name, version, normal } = bundle.description
  const windows = await everyExample(await labelledData(dataset, input, classes, side))
  if (windows.length === 0)
    throw new FaultlineError(
      'RECORDING_INVALID',
      `${dataset} has no window as long as ${name} takes on its ${side} side`,
    )
  const probabilities = await probabilitiesOf(classifier, windows)
  const labels = Uint8Array.from(windows, ({ label }) => label)
  const answers = argmaxRows(probabilities, classes.length)
  return {
    model: `${name}:${version}`,
    normal,
    ...classificationMetrics(labels, answers, classes, normal === undefined ? undefined : classes.indexOf(normal)),
    calibrationError: calibrationError(probabilities, labels, classes.length),
  }
}

/** `evaluate -- hard`. */
export function addHardCommand(program: Command): void {
  program
    .command('hard')
    .description('models on one side of the hard windows that `models -- dataset` exported')
    .argument('<dataset>', 'directory of the export')
    .requiredOption('--models <bundle...>', 'bundles to compare')
    .addOption(new Option('--side <side>', 'which windows').choices(sides).default('test'))
    .action(async (dataset: string, { models, side }: { models: string[]; side: Side }) => {
      process.stdout.write(`${tableOf(dataset, side, await evaluateOnHard(dataset, side, models))}\n`)
    })
}

function tableOf(dataset: string, side: Side, evaluations: readonly HardEvaluation[]): string {
  const percent = (value: number | null) => (value === null ? '–' : `${(100 * value).toFixed(1)} %`)
  return plainTable({
    title: `On the ${side} side of ${dataset}`,
    note: 'Hard windows: on all windows every model does better. Labels that a server gave favour that server.',
    head: ['model', 'windows', 'right', 'macro F1', 'missed faults', 'false alarms', 'calibration error'],
    rows: evaluations.map(({ model, windows, accuracy, macroF1, normal, calibrationError, ...rates }) => [
      model,
      String(windows),
      percent(accuracy),
      macroF1.toFixed(3),
      normal === undefined ? '–' : percent(rates.missedFaultRate),
      normal === undefined ? '–' : percent(rates.falseAlarmRate),
      percent(calibrationError),
    ]),
  })
}
