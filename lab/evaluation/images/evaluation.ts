import { type EngineName, policyModelOf, prepare } from '@faultline/inference'
import { Progress } from '@faultline/runtime'
import { argmaxRows, classificationMetrics } from '../../training/metrics.ts'
import { probabilitiesOf } from '../classifiers.ts'
import { curvesOf, type Point, type SplitCurves } from '../curves.ts'
import { bytesOfEscalation } from '../escalation-bytes.ts'
import { outcomesOf, SHIPPED_PRICE } from '../pair.ts'
import { breakEven, cheaperBetween, type PriceRange } from './break-even.ts'
import type { CutFigures } from './cuts.ts'
import { type ExampleGroup, exampleGroups } from './examples.ts'
import type { Device } from './expense.ts'
import type { Link } from './links.ts'
import { measured, type Times } from './measurements.ts'
import { choicesOf, type Deciding, figuresOf, type MethodFigures, methods } from './methods.ts'
import { extentsOf, findTestBatch, type ImagePair, loadImagePair, readImages } from './pair.ts'
import { traceOf } from './trace.ts'

export interface ImageEvaluationOptions {
  /** Directory with `test_batch.bin`, or the one above its `cifar10`. */
  data: string
  models: string
  links: readonly Link[]
  device: Device
  seed: number
  /** For the answers; the first that works where absent. */
  engine?: EngineName
  /** Rounds of timing; for tests. */
  rounds?: number
}

export interface ImageEvaluation {
  at: string
  seconds: number
  seed: number
  images: number
  classes: readonly string[]
  models: { local: string; server: string }
  links: readonly Link[]
  device: Device
  /** Of one escalation on the wire, and of the image within it. */
  escalationBytes: number
  imageBytes: number
  times: Times
  /** What could not be measured, and why. */
  notes: string[]
  rows: MethodFigures[]
  /** The threshold the local bundle carries, and where it pays. */
  threshold: number
  pays: { threshold: PriceRange | null; calibrated: PriceRange | null; default: PriceRange | null }
  curves: SplitCurves
  /** Cost against price of the policies that know the price. */
  policyCosts: Record<'default' | 'calibrated', Point[]>
  /** Empty where the server's network cannot be cut. */
  cuts: CutFigures[]
  confusion: Record<'local' | 'both' | 'server', number[][]>
  examples: ExampleGroup[]
}

export const PRICES: readonly number[] = [0.05, 0.1, 0.2, 0.3, 0.5]
/** Finer, for the range of prices in which a policy pays. */
const CURVE_PRICES = Array.from({ length: 61 }, (_, i) => i / 100)
const AGREEMENT_IMAGES = 100

/**
 * Measures a pair of image models on images they did not learn from. Policies and calibration come from the local
 * bundle. The same seed gives the same figures but for the times. Throws the coded errors of bundles, engines and recordings.
 */
export async function evaluateImages(options: ImageEvaluationOptions): Promise<ImageEvaluation> {
  const started = Date.now()
  const file = await findTestBatch(options.data)
  const pair = await loadImagePair(options.models, { engine: options.engine })
  try {
    const { local, server, input } = pair
    const { classes } = local
    const images = await readImages(file, pair)
    const reading = new Progress('asking both models', 2 * images.length)
    let read = 0
    const onBatch = (windows: number) => {
      read += windows
      reading.update(read)
    }
    const answers = {
      labels: Uint8Array.from(images, ({ label }) => label),
      local: await probabilitiesOf(local, images, onBatch),
      server: await probabilitiesOf(server, images, onBatch),
    }
    reading.stop()

    const notes: string[] = []
    const prepared = images.slice(0, AGREEMENT_IMAGES).map(({ window }) => prepare(window, input).values)
    const { times, cuts } = await measured(pair, prepared, notes, options.rounds)

    const trace = traceOf(answers, classes.length)
    const model = policyModelOf(local.bundle.digest, local.bundle.description)
    const deciding: Deciding = { trace, model, seed: options.seed }
    const chosen = choicesOf('default', SHIPPED_PRICE, deciding)
    const policyCosts = costsOf(deciding)
    const threshold = model.threshold ?? 0
    const curves = curvesOf([{ split: 'CIFAR-10 test', threshold, ...answers }], classes.length)
    const localAnswers = argmaxRows(answers.local, classes.length)
    const serverAnswers = argmaxRows(answers.server, classes.length)
    const confusionOf = (said: Uint8Array) => classificationMetrics(answers.labels, said, classes).confusion
    const [height, width, channels] = extentsOf(input)
    const rows = PRICES.flatMap(price =>
      methods.map(method => figuresOf(method, price, choicesOf(method, price, deciding), trace)),
    )
    const costAt = (method: 'never' | 'always') => rows.find(row => row.method === method)!
    const serverWrong = 1 - costAt('always').accuracy.value
    const range = (name: 'default' | 'calibrated') =>
      cheaperBetween(
        CURVE_PRICES,
        policyCosts[name].map(({ y }) => y),
        costAt('never').cost.value,
        serverWrong,
      )
    return {
      at: new Date(started).toISOString(),
      seconds: Math.round((Date.now() - started) / 1000),
      seed: options.seed,
      images: images.length,
      classes,
      models: { local: named(local), server: named(server) },
      links: options.links,
      device: options.device,
      escalationBytes: bytesOfEscalation(local.task, classes, { shape: [height, width, channels], rateHz: 0 }),
      imageBytes: height * width * channels,
      times,
      notes,
      rows,
      threshold,
      pays: {
        threshold: breakEven(outcomesOf(answers, classes.length), threshold),
        calibrated: range('calibrated'),
        default: range('default'),
      },
      curves,
      policyCosts,
      cuts,
      confusion: {
        local: confusionOf(localAnswers),
        both: confusionOf(localAnswers.map((answer, i) => (chosen[i] ? serverAnswers[i]! : answer))),
        server: confusionOf(serverAnswers),
      },
      examples: exampleGroups(images, chosen, trace, classes),
    }
  } finally {
    await pair.local.dispose()
    await pair.server.dispose()
  }
}

function named({ model }: ImagePair['local']): string {
  return `${model.name} ${model.version}`
}

function costsOf(deciding: Deciding): Record<'default' | 'calibrated', Point[]> {
  const progress = new Progress('replaying prices', 2 * CURVE_PRICES.length)
  let done = 0
  const of = (method: 'default' | 'calibrated') =>
    CURVE_PRICES.map((price): Point => {
      const { cost } = figuresOf(method, price, choicesOf(method, price, deciding), deciding.trace)
      progress.update(++done)
      return { x: price, y: cost.value }
    })
  const costs = { default: of('default'), calibrated: of('calibrated') }
  progress.stop()
  return costs
}
