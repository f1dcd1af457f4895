import type { Inference, RuntimeConfig } from '@faultline/protocol'

export type PaceSettings = NonNullable<RuntimeConfig['pace']>

/** Inferences in a row that have to say normal before a point counts as healthy. */
const healthyAfter = 20
/** Sources give their windows a little early or late. */
const tolerance = 0.05

/** Which windows of each point are judged: rarer while all is well, all of them as soon as something is not. */
export class WindowPace {
  private readonly normal: string | undefined
  private settings: PaceSettings
  private readonly lastAt = new Map<string, number>()
  private readonly normals = new Map<string, number>()

  /** @param normal The class that means nothing is wrong; without one no point is ever healthy. */
  constructor(normal: string | undefined, settings: PaceSettings) {
    this.normal = normal
    this.settings = settings
  }

  /** From the next window on. */
  use(settings: PaceSettings): void {
    this.settings = settings
  }

  /** Whether a window that ended at this time (ms) is judged. */
  takes(point: string, at: number): boolean {
    const { everyS = 0, healthyEveryS = everyS, paused = [] } = this.settings
    if (paused.includes(point)) return false
    const healthy = (this.normals.get(point) ?? 0) >= healthyAfter
    const intervalMs = (healthy ? Math.max(everyS, healthyEveryS) : everyS) * 1_000
    const last = this.lastAt.get(point)
    // A clock that was put back would keep a point waiting.
    if (last !== undefined && at >= last && at - last < intervalMs * (1 - tolerance)) return false
    this.lastAt.set(point, at)
    return true
  }

  heard(point: string, { label, revises }: Inference): void {
    if (label !== this.normal) this.normals.set(point, 0)
    else if (revises === undefined) this.normals.set(point, (this.normals.get(point) ?? 0) + 1)
  }
}
