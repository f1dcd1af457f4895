import { join } from 'node:path'
import { type Bundle, bearingClasses, Random } from '@faultline/inference'
import { Progress } from '@faultline/runtime'
import type { Side } from '../archive/division.ts'
import { exportedWindows } from '../archive/exported.ts'
import { augmented, drawnSamples } from '../data/augmentation.ts'
import { BearingData } from '../data/bearing-data.ts'
import { simulatedWindows } from '../data/simulated-windows.ts'
import { classNumbers, consecutiveWindows, type LabelledWindow, randomWindows } from '../data/windows.ts'
import { rmsBaseline } from '../evaluation/baseline.ts'
import { hierarchicalMetrics, type PairAnswers, SHIPPED_PRICE } from '../evaluation/pair.ts'
import { assertSeparate, type RecordingPart, type Split, splitByLoad } from '../splits.ts'
import { chooseBackend } from './backend.ts'
import {
  answersOf,
  bearingSignal,
  localPlan,
  type ModelPlan,
  serverPlan,
  type TrainedModel,
  trainModel,
  WINDOWS_PER_CLASS,
} from './bearing-models.ts'
import { writeModelBundle } from './bundles.ts'
import { argmaxRows, calibrationError, classificationMetrics } from './metrics.ts'
import { fitPair, type PairCalibration } from './pair-calibration.ts'

export interface BearingTrainingOptions {
  /** The CWRU directory or the one it lies in; without it the models learn from simulated machines only. */
  data?: string
  /** Hard windows besides, as `models -- dataset` exported them. */
  hard?: string
  out: string
  seed: number
  /** Training windows per class, from recordings and from the simulator each. */
  perClass?: number
  /** Share of the planned epochs to run; for tests. */
  effort?: number
}

/** The windows of one side, by where they come from. */
interface SideWindows {
  recorded: LabelledWindow[]
  simulated: LabelledWindow[]
  /** Of an archive. */
  hard: LabelledWindow[]
}
type Sides = Record<Side, SideWindows>

const classes: readonly string[] = bearingClasses
/** Windows as they are drawn, long enough to be varied. */
const drawnSignal = { ...bearingSignal, samples: drawnSamples(bearingSignal.samples) }
const noSplit: Split = { train: [], validation: [], test: [] }
const plans = { local: localPlan, server: serverPlan }

/**
 * Trains, calibrates, measures and writes the two bearing models, `bearing-local` and `bearing-server`, under `out`.
 * The same seed on the same backend gives the same models. Throws `RECORDING_UNREADABLE` or `RECORDING_INVALID`.
 */
export async function trainBearings(options: BearingTrainingOptions): Promise<{ local: Bundle; server: Bundle }> {
  const { seed, perClass = WINDOWS_PER_CLASS, effort = 1 } = options
  const data = options.data === undefined ? undefined : await BearingData.open(options.data, bearingSignal.rateHz)
  const split = data ? splitByLoad(data.recordings) : noSplit
  const backend = await chooseBackend()
  const sides = await makeSides(data, split, options.hard, perClass, seed)

  const train = (plan: ModelPlan, label: string) =>
    fit(plan, label, all(sides.train), all(sides.validation), seed, effort)
  const local = await train(plans.local, 'bearing-local')
  const server = await train(plans.server, 'bearing-server')

  const answers = (windows: readonly LabelledWindow[]) => pairAnswers(local, server, windows)
  const held = answers(all(sides.validation))

  // Not the training windows: their gain was varied.
  const baseline = data && rmsBaseline(await everyWindow(data, split.train, new Random(seed)), sides.test.recorded)

  const write = (model: TrainedModel, own?: PairCalibration) =>
    writeModelBundle(join(options.out, model.plan.network.name), model, goldenWindows(sides), own ?? {}, {
      at: new Date().toISOString(),
      data: [
        ...(data ? ['CWRU bearing data, drive end, 12 kHz'] : []),
        'simulated machines',
        ...(options.hard === undefined ? [] : ['hard windows of an archive']),
      ],
      seed,
      note: noteFor(backend, data !== undefined, options.hard !== undefined),
      split,
      metrics: {
        ...ownMetrics(model, sides),
        ...(own ? { hierarchical: measurements(sides, answers, own.threshold) } : {}),
        ...(baseline ? { rmsBaseline: baseline } : {}),
        windowsUsed: { train: count(sides.train), validation: count(sides.validation) },
        epoch: model.epoch,
      },
    })
  const serverBundle = await write(server)
  const own = fitPair(held, classes.length, serverBundle.digest)
  return { local: await write(local, own), server: serverBundle }
}

/** Windows of every side. Training draws at random and varies; the other sides take each window once, as it is. */
async function makeSides(
  data: BearingData | undefined,
  split: Split,
  hardWindows: string | undefined,
  perClass: number,
  seed: number,
): Promise<Sides> {
  if (data) assertSeparate(split, data.recordings)
  const random = new Random(seed)
  const vary = (windows: LabelledWindow[]) => windows.map(window => augmented(window, bearingSignal.samples, random))
  const each = (side: keyof Split) => (data ? everyWindow(data, split[side], random) : [])
  const hard = (side: Side) => (hardWindows === undefined ? [] : exportedWindows(hardWindows, side, random))
  const recorded = data ? await randomWindows(data, split.train, drawnSignal.samples, perClass, random) : []
  return {
    train: {
      recorded: vary(recorded),
      simulated: vary(simulatedWindows(perClass, drawnSignal, random)),
      hard: await hard('train'),
    },
    validation: {
      recorded: await each('validation'),
      simulated: simulatedWindows(Math.ceil(perClass / 10), bearingSignal, random),
      hard: await hard('validation'),
    },
    test: {
      recorded: await each('test'),
      simulated: simulatedWindows(Math.ceil(perClass / 10), bearingSignal, random),
      hard: await hard('test'),
    },
  }
}

/** The parts' windows one after the other, none overlapping. */
function everyWindow(data: BearingData, parts: readonly RecordingPart[], random: Random): Promise<LabelledWindow[]> {
  return consecutiveWindows(data, parts, bearingSignal.samples, bearingSignal.samples, random)
}

async function fit(
  plan: ModelPlan,
  label: string,
  train: readonly LabelledWindow[],
  validation: readonly LabelledWindow[],
  seed: number,
  effort: number,
): Promise<TrainedModel> {
  const epochs = Math.max(1, Math.round(plan.epochs * effort))
  const progress = new Progress(label, epochs)
  const model = await trainModel({ ...plan, epochs }, classes, train, validation, seed, (epoch, loss, held) =>
    progress.update(epoch, `loss ${loss.toFixed(4)}${validation.length > 0 ? `, validation ${held.toFixed(4)}` : ''}`),
  )
  progress.stop()
  return model
}

function pairAnswers(local: TrainedModel, server: TrainedModel, windows: readonly LabelledWindow[]): PairAnswers {
  return {
    labels: labelsOf(windows),
    local: answersOf(local, windows),
    server: answersOf(server, windows),
  }
}

/** Both models together at the chosen threshold, on recordings and on simulated machines apart. */
function measurements(sides: Sides, answers: (windows: readonly LabelledWindow[]) => PairAnswers, threshold: number) {
  const measured = (windows: readonly LabelledWindow[]) =>
    windows.length > 0 ? hierarchicalMetrics(answers(windows), classes, threshold, SHIPPED_PRICE) : undefined
  return withoutAbsent({
    cwruTest: measured(sides.test.recorded),
    simulatedTest: measured(sides.test.simulated),
    hardTest: measured(sides.test.hard),
  })
}

function ownMetrics(model: TrainedModel, sides: Sides) {
  const measured = (windows: readonly LabelledWindow[]) => {
    if (windows.length === 0) return undefined
    const probabilities = answersOf(model, windows)
    const labels = labelsOf(windows)
    return {
      ...classificationMetrics(labels, argmaxRows(probabilities, classes.length), classes),
      calibrationError: calibrationError(probabilities, labels, classes.length),
    }
  }
  return withoutAbsent({
    cwruTest: measured(sides.test.recorded),
    cwruValidation: measured(sides.validation.recorded),
    simulatedTest: measured(sides.test.simulated),
    hardTest: measured(sides.test.hard),
  })
}

function noteFor(backend: string, recordings: boolean, hard: boolean): string {
  return [recordingsNote(backend, recordings), ...(hard ? [hardNote] : [])].join(' ')
}

const hardNote =
  'Hard windows are what devices escalated, divided by machine, with the label of a person or else of the server that answered.'

function recordingsNote(backend: string, recordings: boolean): string {
  const simulated =
    'Simulated machines: other seeds on each side, shaft 12 to 40 Hz, varied bearing, severity, resonance, tones and noise.'
  if (!recordings) return `Trained on ${backend}. ${simulated}`
  return [
    `Trained on ${backend} from recordings and simulated machines in equal parts; metrics are stated apart.`,
    'Loads 0 and 1 train, load 2 chooses (epoch, temperature, threshold, correctness), load 3 tests: a training run chooses nothing on it, but its figures were in view while features and network sizes were designed.',
    'Each class is one seeded defect per size on one rig, and loads are reruns of it: for what the models make of an unseen bearing see `npm run evaluate`.',
    'The one normal recording (0 hp) is cut in time with gaps of 1 s, so there is no normal window of another load.',
    'Half of the training windows are varied as if from another machine: speed, structure, and a bearing with the same rate of impacts.',
    'Recordings are dithered onto a common grid of 1 mg; those of 0.028 inch state no speed and use the nominal one of their load.',
    simulated,
  ].join(' ')
}

function goldenWindows(sides: Sides): LabelledWindow[] {
  const { recorded, simulated } = sides.validation
  return recorded.length > 0 ? recorded : simulated
}

function labelsOf(windows: readonly LabelledWindow[]): Uint8Array {
  return classNumbers(windows, classes)
}

function all(side: SideWindows): LabelledWindow[] {
  return [...side.recorded, ...side.simulated, ...side.hard]
}

function withoutAbsent<T extends object>(record: T): Partial<T> {
  return Object.fromEntries(Object.entries(record).filter(([, value]) => value !== undefined)) as Partial<T>
}

function count(side: SideWindows): Record<keyof SideWindows, number> {
  return { recorded: side.recorded.length, simulated: side.simulated.length, hard: side.hard.length }
}
