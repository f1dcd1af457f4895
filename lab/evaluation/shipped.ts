import { join } from 'node:path'
import { type Bearing, type Classifier, Random } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import type { BearingData } from '../data/bearing-data.ts'
import { type LabelledWindow, rms } from '../data/windows.ts'
import type { Split } from '../splits.ts'
import { classes, everyWindow, type FoldAnswers, knownOf } from './answers.ts'
import { rmsBaseline } from './baseline.ts'
import { loadPair, probabilitiesOf } from './classifiers.ts'
import { splitNames, whole } from './folds.ts'
import { groupBy } from './group-by.ts'
import { type Known, priceFor, scoresOf } from './policy.ts'

/** Signal-to-noise ratios in dB that the shipped pair is tried at. */
export const noiseLevels: readonly number[] = [-4, 0, 4, 10]

/** Names of the splits that need no training. */
export const shippedSplits = { own: 'CWRU 3 hp', noise: 'CWRU 3 hp with noise', toUestc: splitNames.toUestc } as const

/** The two shipped bundles, as an agent and a server load them. */
export class ShippedPair {
  readonly local: Classifier
  readonly server: Classifier
  readonly split: Split

  private constructor(local: Classifier, server: Classifier) {
    this.local = local
    this.server = server
    this.split = local.bundle.description.training.split
  }

  /**
   * Loads `bearing-local` and `bearing-server`. Throws the coded errors of bundles and engines, and `BUNDLE_INVALID` for
   * a pair that knows no test side or other classes.
   */
  static async load(modelsDirectory: string, bearing?: Bearing): Promise<ShippedPair> {
    const directories = [join(modelsDirectory, 'bearing-local'), join(modelsDirectory, 'bearing-server')] as const
    return new ShippedPair(...(await loadPair(directories, { bearing }, problemOf)))
  }

  /** Class probabilities of both models for each window, row after row. */
  async answers(windows: readonly LabelledWindow[]): Promise<{ local: Float32Array; server: Float32Array }> {
    return { local: await probabilitiesOf(this.local, windows), server: await probabilitiesOf(this.server, windows) }
  }

  /** Confidence below which the bundle says that escalating pays. */
  get threshold(): number {
    return this.local.bundle.description.calibration.threshold ?? 0
  }

  /** How far the local model's answers can be believed. Throws `BUNDLE_INVALID` for a bundle that does not say. */
  get known(): Known {
    const { description, directory } = this.local.bundle
    const { correctness, server } = description.calibration
    if (correctness) return { calibration: correctness, server }
    throw new FaultlineError('BUNDLE_INVALID', `${directory} does not say how far its answers can be believed`)
  }

  /** Answers to these windows with what the calibrated policy thinks of them. */
  async judged(
    windows: readonly LabelledWindow[],
  ): Promise<{ local: Float32Array; server: Float32Array; scores: Float32Array }> {
    const answers = await this.answers(windows)
    return { ...answers, scores: scoresOf(answers.local, this.known) }
  }

  /** The price of an escalation as the validation side of its own split suggests it; for a pair that looks at that rig's bearing. */
  async price(data: BearingData): Promise<number> {
    const windows = await everyWindow(data, this.split.validation, new Random(0))
    return priceFor(scoresOf(await probabilitiesOf(this.local, windows), this.known))
  }

  async dispose(): Promise<void> {
    await this.local.dispose()
    await this.server.dispose()
  }
}

function problemOf(local: Classifier, server: Classifier): string | undefined {
  if (local.bundle.description.training.split.test.length === 0) return 'was not trained on recordings: no test side'
  const same = [local, server].every(model => model.classes.join() === classes.join())
  return same ? undefined : `does not name the classes ${classes.join(', ')}`
}

/** The shipped pair on its own test side, as it is and with white noise added to each window. */
export async function shippedAnswers(pair: ShippedPair, data: BearingData, price: number): Promise<FoldAnswers[]> {
  const random = new Random(0)
  const test = await everyWindow(data, pair.split.test, random)
  const { limit } = rmsBaseline(await everyWindow(data, pair.split.train, random), test)
  const folds: FoldAnswers[] = []
  for (const decibels of [undefined, ...noiseLevels]) {
    const windows = decibels === undefined ? test : test.map(labelled => withNoise(labelled, decibels, random))
    folds.push({
      split: decibels === undefined ? shippedSplits.own : shippedSplits.noise,
      fold: decibels === undefined ? 'as recorded' : `${decibels} dB`,
      models: 'shipped',
      ...knownOf(data, windows),
      ...(await pair.judged(windows)),
      known: pair.known,
      price,
      threshold: 1 - price,
      confidence: pair.threshold,
      rmsLimit: limit,
    })
  }
  return folds
}

/** The shipped pair on another rig, one fold for each speed. Price and RMS limit stay those of the CWRU rig. */
export async function acrossRigs(
  pair: ShippedPair,
  own: BearingData,
  other: BearingData,
  price: number,
): Promise<FoldAnswers[]> {
  const random = new Random(0)
  const known = await everyWindow(own, pair.split.train, random)
  const { limit } = rmsBaseline(known, known)
  const folds: FoldAnswers[] = []
  for (const [shaftHz, recordings] of groupBy(other.recordings, recording => recording.shaftHz ?? 0)) {
    const windows = await everyWindow(other, recordings.map(whole), random)
    folds.push({
      split: shippedSplits.toUestc,
      fold: `${Math.round(60 * shaftHz)} rpm`,
      models: 'shipped',
      ...knownOf(other, windows),
      ...(await pair.judged(windows)),
      known: pair.known,
      price,
      threshold: 1 - price,
      confidence: pair.threshold,
      rmsLimit: limit,
    })
  }
  return folds.sort((a, b) => a.fold.localeCompare(b.fold, 'en', { numeric: true }))
}

/** The window with white noise so many decibels below its own level. */
function withNoise(labelled: LabelledWindow, decibels: number, random: Random): LabelledWindow {
  const { window } = labelled
  const deviation = rms(window.samples) * 10 ** (-decibels / 20)
  return { ...labelled, window: { ...window, samples: window.samples.map(x => x + deviation * random.normal()) } }
}
