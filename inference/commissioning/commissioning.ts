import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { checkFeatureNames } from '../signal/features.ts'
import { BlockMaxima, blockData } from './block-maxima.ts'
import { fitGumbel, heavyShape, toleranceFactor } from './extreme-value.ts'

export interface CommissioningOptions {
  /** Features that are watched, each with a limit of its own; `meanAbs` when absent. Large has to be what is not normal. */
  statistics?: readonly string[]
  /** Windows to learn from, 50 or more; 600 when absent. */
  windows?: number
  /** Share of normal windows that may be called not normal, all statistics together, 1e-9..0.1; 1e-4 when absent. */
  targetRate?: number
  /** With which both rates of the state hold, 0.5..0.999; 0.95 when absent. */
  confidence?: number
}

/** What is known of the machine so far. */
export interface CommissioningState {
  /** `learning` until there are limits; nothing is judged before. */
  phase: 'learning' | 'ready'
  /** Windows learned from, and how many it takes at least. */
  windows: number
  wanted: number
  /** Windows that count once their likeness to their neighbours is taken off. */
  effectiveWindows: number
  /**
   * What learning lacks: `windows`; `independence`: the windows resemble each other so much that they count for too
   * few, as those of a machine that is still warming up; `variation`: all windows are equal, as those of a dead sensor.
   */
  waitingFor?: 'windows' | 'independence' | 'variation'
  targetRate: number
  confidence: number
  /**
   * The false-alarm rate that the learned windows prove without any assumption about their distribution: so many
   * independent ones stayed below the limit. `targetRate` holds as far as the largest values follow the fitted law.
   */
  supportedRate?: number
  /** By statistic; empty while learning. */
  limits: Record<string, CommissionedLimit>
}

export interface CommissionedLimit {
  /** Mean of the learned values. */
  centre: number
  /** Largest value that is normal. */
  limit: number
}

export interface Judgement {
  normal: boolean
  /** 0 at the centre, 1 at the limit, of the statistic that is furthest out. */
  score: number
  statistic: string
  value: number
  limit: number
}

/** Everything learned; limits follow from it and from the options. */
export interface CommissioningSnapshot {
  version: 1
  statistics: Record<string, unknown>
}

const VERSION = 1
/** Fewer independent blocks than this fix no limit. */
const FEWEST_BLOCKS = 10
const FEWEST_WINDOWS = 50

const optionsSchema = z.strictObject({
  statistics: z.array(z.string()).min(1).default(['meanAbs']),
  windows: z.int().min(FEWEST_WINDOWS).default(600),
  targetRate: z.number().min(1e-9).max(0.1).default(1e-4),
  confidence: z.number().min(0.5).max(0.999).default(0.95),
})
const snapshotSchema = z.strictObject({ version: z.literal(VERSION), statistics: z.record(z.string(), blockData) })

/**
 * Learns what is normal for one measurement point and sets its limits: the threshold rule of arXiv 2304.11763 with a
 * threshold that each machine gets for itself. The limit is an upper tolerance limit: an extreme value law is fitted to
 * maxima of blocks of windows, and its return level for the target rate is raised until the sampling error of the fit
 * is covered. Likeness of neighbouring windows is taken off the count. Needs no model; the same windows give the same
 * limits. What is learned is taken for normal: a machine that is damaged already looks normal afterwards.
 */
export class Commissioning {
  readonly #options: z.infer<typeof optionsSchema>
  #learned: Map<string, BlockMaxima>
  #state: CommissioningState

  /** Throws `CONFIG_INVALID` or `FEATURE_UNKNOWN`. */
  constructor(options: CommissioningOptions = {}) {
    const parsed = optionsSchema.safeParse(options)
    if (!parsed.success) {
      const issue = parsed.error.issues[0]
      throw new FaultlineError('CONFIG_INVALID', `commissioning: ${issue?.path.join('.')}: ${issue?.message}`)
    }
    this.#options = parsed.data
    checkFeatureNames(parsed.data.statistics)
    if (new Set(parsed.data.statistics).size < parsed.data.statistics.length)
      throw new FaultlineError('CONFIG_INVALID', 'commissioning: statistics: one is named twice')
    this.#learned = this.#nothing()
    this.#state = this.#derive()
  }

  get state(): CommissioningState {
    return this.#state
  }

  /**
   * Takes the features of the next window: learns from them (undefined), or judges them once the limits stand. Throws
   * `WINDOW_INVALID`, and leaves everything as it was, where a statistic is missing or not finite.
   */
  observe(features: Readonly<Record<string, number>>): Judgement | undefined {
    const values = this.#valuesOf(features)
    if (this.#state.phase === 'ready') return this.#judge(values)
    for (const [i, blocks] of [...this.#learned.values()].entries()) blocks.add(values[i]!)
    this.#state = this.#derive()
    return undefined
  }

  /** Forgets the machine and learns it anew: after maintenance, on another speed, with a sensor put elsewhere. */
  relearn(): void {
    this.#learned = this.#nothing()
    this.#state = this.#derive()
  }

  snapshot(): CommissioningSnapshot {
    const statistics = Object.fromEntries([...this.#learned].map(([name, blocks]) => [name, blocks.snapshot()]))
    return { version: VERSION, statistics }
  }

  /**
   * Takes over what another one learned of the same statistics; limits are set by the options of this one.
   * Throws `COMMISSIONING_STATE_INVALID`.
   */
  restore(snapshot: unknown): void {
    const parsed = snapshotSchema.safeParse(snapshot)
    if (!parsed.success) throw new FaultlineError('COMMISSIONING_STATE_INVALID', 'the snapshot is damaged')
    const { statistics } = parsed.data
    const names = this.#options.statistics
    if (Object.keys(statistics).sort().join() !== [...names].sort().join())
      throw new FaultlineError(
        'COMMISSIONING_STATE_INVALID',
        `the snapshot is of ${Object.keys(statistics).join(', ') || 'nothing'}, not of ${names.join(', ')}`,
      )
    if (new Set(Object.values(statistics).map(data => data.count)).size > 1)
      throw new FaultlineError('COMMISSIONING_STATE_INVALID', 'the snapshot counts windows differently')
    this.#learned = new Map(names.map(name => [name, new BlockMaxima(statistics[name])]))
    this.#state = this.#derive()
  }

  #nothing(): Map<string, BlockMaxima> {
    return new Map(this.#options.statistics.map(name => [name, new BlockMaxima()]))
  }

  #valuesOf(features: Readonly<Record<string, number>>): number[] {
    return this.#options.statistics.map(name => {
      const value = Object.hasOwn(features, name) ? features[name] : undefined
      if (value !== undefined && Number.isFinite(value)) return value
      throw new FaultlineError('WINDOW_INVALID', `commissioning needs ${name}; the window has ${value ?? 'none'}`)
    })
  }

  #judge(values: readonly number[]): Judgement {
    const judgements = this.#options.statistics.map((statistic, i): Judgement => {
      const { centre, limit } = this.#state.limits[statistic]!
      const value = values[i]!
      return { normal: value <= limit, score: (value - centre) / (limit - centre), statistic, value, limit }
    })
    return judgements.reduce((worst, next) => (next.score > worst.score ? next : worst))
  }

  #derive(): CommissioningState {
    const { windows: wanted, targetRate, confidence } = this.#options
    const all = [...this.#learned.values()]
    const windows = all[0]!.count
    const state: CommissioningState = {
      phase: 'learning',
      windows,
      wanted,
      effectiveWindows: Math.floor(Math.min(...all.map(blocks => blocks.effectiveCount))),
      targetRate,
      confidence,
      limits: {},
    }
    if (windows < wanted) return { ...state, waitingFor: 'windows' }
    if (!all.every(blocks => blocks.varies)) return { ...state, waitingFor: 'variation' }
    if (!all.every(blocks => independentBlocks(blocks) >= FEWEST_BLOCKS))
      return { ...state, waitingFor: 'independence' }
    const limits = [...this.#learned].map(([name, blocks]) => [name, this.#limitOf(blocks)])
    const supportedRate = rateSupportedBy(state.effectiveWindows, confidence)
    return { ...state, phase: 'ready', supportedRate, limits: Object.fromEntries(limits) }
  }

  #limitOf(blocks: BlockMaxima): CommissionedLimit {
    const { targetRate, confidence, statistics } = this.#options
    // Statistics share the rate equally: together they alarm at most as often as the sum.
    const rate = targetRate / statistics.length
    // Windows that resemble each other exceed a limit in runs: a block has fewer chances, and each costs more windows.
    const chances = Math.max(1, (blocks.size * blocks.effectiveCount) / blocks.count)
    const tail = -Math.expm1(chances * Math.log1p(-rate))
    const { location, scale } = fitGumbel(blocks.maxima)
    const factor = toleranceFactor(independentBlocks(blocks), heavyShape(blocks.maxima), tail, confidence)
    // A window that was learned as normal is normal.
    return { centre: blocks.mean, limit: Math.max(location + factor * scale, blocks.largest) }
  }
}

function independentBlocks(blocks: BlockMaxima): number {
  return Math.min(blocks.maxima.length, Math.floor(blocks.effectiveCount))
}

/**
 * The smallest exceedance rate that `windows` independent windows, none of which exceeded, are evidence for with this
 * confidence: a higher one would have shown itself (the rule of three, exactly). 1 without windows.
 */
export function rateSupportedBy(windows: number, confidence = 0.95): number {
  return windows > 0 ? -Math.expm1(Math.log1p(-confidence) / windows) : 1
}
