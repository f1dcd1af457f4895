import { Progress } from '@faultline/runtime'
import { BearingData } from '../data/bearing-data.ts'
import { chooseBackend } from '../training/backend.ts'
import { bearingSignal, WINDOWS_PER_CLASS } from '../training/bearing-models.ts'
import { type Aim, aimsOf } from './aims.ts'
import { classes, type FoldAnswers } from './answers.ts'
import { type CommissioningResult, commissioningResults } from './commissioning.ts'
import { curvesOf, type SplitCurves } from './curves.ts'
import { bytesOfEscalation } from './escalation-bytes.ts'
import { foldsOf, splitNames } from './folds.ts'
import { epochsOf, retrainedAnswers } from './retrained.ts'
import { openUestc, uestcBearing } from './rigs.ts'
import { type Row, rowsOf } from './rows.ts'
import { acrossRigs, ShippedPair, shippedAnswers, shippedSplits } from './shipped.ts'
import { type ExampleSpectra, exampleSpectra } from './spectra.ts'
import { type StreamRow, streamRowsOf } from './streams.ts'

export interface EvaluationOptions {
  /** Directory that holds `cwru`, and `uestc` where it is to be measured too. */
  data: string
  models: string
  /** Only what needs no training. */
  quick?: boolean
  seed?: number
  /** Training windows per class, from recordings and from the simulator each; as for the shipped pair when absent. */
  perClass?: number
  /** Share of the planned epochs to run; for tests. */
  effort?: number
}

export interface Evaluation {
  at: string
  seconds: number
  seed: number
  /** What trained, or null when nothing was trained. */
  backend: string | null
  engines: { local: string; server: string }
  classes: readonly string[]
  /** Bytes of one escalation on the wire. */
  escalationBytes: number
  /** What could not be measured, and why. */
  notes: string[]
  aims: Aim[]
  rows: Row[]
  commissioning: CommissioningResult[]
  streams: StreamRow[]
  curves: SplitCurves[]
  spectra: ExampleSpectra[]
}

const splitOrder: readonly string[] = [
  shippedSplits.own,
  shippedSplits.noise,
  splitNames.load,
  splitNames.diameter,
  splitNames.speed,
  splitNames.toUestc,
  splitNames.toCwru,
]

/** UESTC was recorded at this rate; commissioning takes it as it is. */
const UESTC_RATE_HZ = 20_000

/**
 * Measures the bearing models on every split there is data for. The same seed on the same backend gives the same
 * figures. Throws the coded errors of recordings, bundles and engines.
 */
export async function evaluateEverySplit(options: EvaluationOptions): Promise<Evaluation> {
  const { seed = 1, perClass = WINDOWS_PER_CLASS, effort = 1, quick = false } = options
  const started = Date.now()
  const cwru = await BearingData.open(options.data, bearingSignal.rateHz)
  const uestc = await openUestc(options.data, bearingSignal.rateHz)
  const uestcAsRecorded = await openUestc(options.data, UESTC_RATE_HZ)
  const notes: string[] = []
  if (!uestc) notes.push(`${options.data} holds no directory uestc: speeds, other rigs and commissioning are left out.`)
  if (quick) notes.push('Quick run: splits that need training are left out.')

  const { engines, folds } = await shippedFolds(options.models, cwru, uestc)
  const backend = quick ? null : await chooseBackend()
  if (!quick) {
    const jobs = foldsOf(cwru, uestc)
    const progress = new Progress('evaluate', jobs.length * epochsOf({ effort }))
    let epochs = 0
    for (const job of jobs) {
      const detail = `${job.split}: ${job.name}`
      progress.update(epochs, detail)
      folds.push(await retrainedAnswers(job, { seed, perClass, effort }, () => progress.update(++epochs, detail)))
    }
    progress.stop()
  }

  // From what the models know best to what they know least.
  const bySplit = splitOrder.map(split => folds.filter(fold => fold.split === split)).filter(group => group.length > 0)
  const escalationBytes = bytesOfEscalation('bearing-fault', classes, {
    shape: [bearingSignal.samples],
    ...bearingSignal,
    shaftHz: 29.93,
  })
  const rows = bySplit.flatMap(group => rowsOf(group, escalationBytes))
  const curves = bySplit
    .filter(([first]) => first!.split !== shippedSplits.noise)
    .map(group => curvesOf(group, classes.length))
  const streams = bySplit.filter(([first]) => first!.split !== shippedSplits.noise).flatMap(streamRowsOf)
  const commissioning = uestcAsRecorded ? await commissioningResults(uestcAsRecorded) : []
  return {
    at: new Date(started).toISOString(),
    seconds: Math.round((Date.now() - started) / 1000),
    seed,
    backend,
    engines,
    classes,
    escalationBytes,
    notes,
    aims: aimsOf(rows, curves, commissioning),
    rows,
    commissioning,
    streams,
    curves,
    spectra: await exampleSpectra(cwru),
  }
}

async function shippedFolds(models: string, cwru: BearingData, uestc: BearingData | undefined) {
  const folds: FoldAnswers[] = []
  const own = await ShippedPair.load(models)
  const engines = { local: own.local.engine, server: own.server.engine }
  let price: number
  try {
    price = await own.price(cwru)
    folds.push(...(await shippedAnswers(own, cwru, price)))
  } finally {
    await own.dispose()
  }
  if (!uestc) return { engines, folds }
  const abroad = await ShippedPair.load(models, uestcBearing)
  try {
    folds.push(...(await acrossRigs(abroad, cwru, uestc, price)))
  } finally {
    await abroad.dispose()
  }
  return { engines, folds }
}
