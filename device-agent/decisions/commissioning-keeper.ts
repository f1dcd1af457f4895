import { createHash } from 'node:crypto'
import {
  Commissioning,
  type CommissioningOptions,
  extractFeatures,
  type Judgement,
  timeFeatures,
  type Window,
} from '@faultline/inference'
import { FaultlineError, identifier, type ModelReference, type PointState, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import { z } from 'zod'
import type { AgentPoint } from '../point-monitor.ts'
import type { Settings } from '../spool/storage.ts'
import type { LocalModel } from './assessment.ts'

/** How a point is commissioned. Windows are counted at the pace of its source. */
export interface PointCommissioning extends Omit<CommissioningOptions, 'windows'> {
  minutes: number
}

/** What commissioning makes of a window. `unjudged`: the window lacks what the limits are about, such as a shaft speed. */
export type Commissioned =
  | { kind: 'learning'; windows: number; wanted: number }
  | { kind: 'judged'; judgement: Judgement; confidence: number; by: ModelReference }
  | { kind: 'unjudged' }

/** Judges the windows of one point by what is normal there. */
export interface WindowJudge {
  take(window: Window): Commissioned
}

const kept = z.object({ since: z.iso.datetime(), snapshot: z.unknown() })
const recalibrateArgs = z.strictObject({ point: identifier })
const fewestWindows = 50
const saveEveryMs = 30_000

/** One point on its way to limits of its own, and what it learned, which outlives a restart. */
class CommissionedPoint implements WindowJudge {
  private readonly settings: Settings
  private readonly name: string
  private readonly commissioning: Commissioning
  private readonly changed: () => void
  private readonly logger: Logger
  private readonly needsSpectra: boolean
  private since = new Date().toISOString()
  private savedAt = performance.now()
  private told = ''
  private by: ModelReference | undefined

  constructor(point: AgentPoint, { minutes, ...others }: PointCommissioning, options: CommissioningKeeperOptions) {
    const { settings, changed, logger } = options
    const windows = Math.max(fewestWindows, Math.round((minutes * 60_000) / point.source.intervalMs))
    this.commissioning = new Commissioning({ ...others, windows })
    this.settings = settings
    this.name = `commissioning/${point.point}`
    this.changed = changed
    this.logger = logger.child({ point: point.point })
    const cheap = Object.keys(timeFeatures(Float32Array.of(1, 2)))
    this.needsSpectra = (others.statistics ?? []).some(name => !cheap.includes(name))
    this.restore()
    this.told = this.progress
  }

  /** Learns from a window, or judges it. A window that cannot be learned from changes nothing. */
  take(window: Window): Commissioned {
    let judgement: Judgement | undefined
    try {
      judgement = this.commissioning.observe(
        this.needsSpectra ? extractFeatures(window) : { ...timeFeatures(window.samples) },
      )
    } catch {
      if (this.commissioning.state.phase === 'ready') return { kind: 'unjudged' }
    }
    const { state } = this.commissioning
    if (judgement) return { kind: 'judged', judgement, confidence: state.confidence, by: this.reference() }
    if (state.phase === 'ready') this.logger.info({ limits: state.limits, windows: state.windows }, 'commissioned')
    if (state.phase === 'ready' || performance.now() - this.savedAt >= saveEveryMs) this.save()
    this.tell()
    return { kind: 'learning', windows: state.windows, wanted: state.wanted }
  }

  get state(): NonNullable<PointState['commissioning']> {
    const { since } = this
    const { state } = this.commissioning
    return { ...state, since, ...(state.phase === 'ready' && { digest: this.reference().digest }) }
  }

  relearn(): void {
    this.commissioning.relearn()
    this.by = undefined
    this.since = new Date().toISOString()
    this.save()
    this.tell()
  }

  /** Never throws: a full disk is no reason to stop judging. */
  save(): void {
    this.savedAt = performance.now()
    try {
      this.settings.write(this.name, { since: this.since, snapshot: this.commissioning.snapshot() })
    } catch (thrown) {
      this.logger.error({ error: toFaultlineError(thrown).message }, 'commissioning not saved')
    }
  }

  /** Other statistics, or a damaged file: the machine is learned anew. */
  private restore(): void {
    const stored = this.settings.read(this.name)
    if (stored === undefined) return
    try {
      const { since, snapshot } = kept.parse(stored)
      this.commissioning.restore(snapshot)
      this.since = since
    } catch (thrown) {
      this.logger.warn({ error: toFaultlineError(thrown).message }, 'kept commissioning discarded, learning anew')
    }
  }

  /** Names the limits in messages as a model would be named: other limits, another digest. */
  private reference(): ModelReference {
    if (this.by) return this.by
    const { limits, targetRate, confidence } = this.commissioning.state
    const hash = createHash('sha256').update(JSON.stringify({ limits, targetRate, confidence })).digest('hex')
    this.by = { name: 'commissioning', version: '1.0.0', digest: `sha256:${hash}` }
    return this.by
  }

  private tell(): void {
    if (this.progress === this.told) return
    this.told = this.progress
    this.changed()
  }

  /** What is worth a message: a phase, what it waits for, every tenth of the way. */
  private get progress(): string {
    const { phase, waitingFor, windows, wanted } = this.commissioning.state
    return `${phase} ${waitingFor} ${Math.min(10, Math.floor((10 * windows) / wanted))} ${this.since}`
  }
}

export interface CommissioningKeeperOptions {
  settings: Settings
  points: readonly AgentPoint[]
  model: LocalModel
  /** The state that is published differs from the last one. */
  changed: () => void
  logger: Logger
}

/** The points of a device that learn what is normal for them. */
export class CommissioningKeeper {
  private readonly points: ReadonlyMap<string, CommissionedPoint>

  /** Takes up what was kept. Throws `CONFIG_INVALID` or `FEATURE_UNKNOWN`. */
  constructor(options: CommissioningKeeperOptions) {
    const { model, points } = options
    const commissioned = points.find(({ commissioning }) => commissioning)
    if (commissioned && model.bundle && model.bundle.description.normal === undefined)
      throw new FaultlineError(
        'CONFIG_INVALID',
        `${commissioned.point} is commissioned, and the model knows no class that means nothing is wrong`,
      )
    const image = points.find(({ commissioning, source }) => commissioning && source.rateHz === 0)
    if (image) throw new FaultlineError('CONFIG_INVALID', `${image.point} is commissioned and gives images`)
    this.points = new Map(
      options.points.flatMap(point =>
        point.commissioning ? [[point.point, new CommissionedPoint(point, point.commissioning, options)] as const] : [],
      ),
    )
  }

  /** Undefined for a point that is not commissioned. */
  judge(point: string): WindowJudge | undefined {
    return this.points.get(point)
  }

  stateOf(point: string): PointState['commissioning'] {
    return this.points.get(point)?.state
  }

  /** The command `recalibrate`: a point forgets its machine. Gives what it had. Throws `COMMAND_INVALID`. */
  recalibrate(args: Record<string, unknown>): Record<string, unknown> {
    const parsed = recalibrateArgs.safeParse(args)
    if (!parsed.success) throw new FaultlineError('COMMAND_INVALID', 'recalibrate takes { point }, a name')
    const { point } = parsed.data
    const commissioned = this.points.get(point)
    if (!commissioned) throw new FaultlineError('COMMAND_INVALID', `"${point}" is no point that is commissioned`)
    const forgotten = commissioned.state
    commissioned.relearn()
    return { point, forgotten, commissioning: commissioned.state }
  }

  save(): void {
    for (const point of this.points.values()) point.save()
  }
}
