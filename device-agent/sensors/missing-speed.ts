import { type InputDescription, needsShaftSpeed, type Window } from '@faultline/inference'
import type { Problem } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'

/** Whether a model cannot judge this window because nothing says how fast the shaft turned. */
export const lacksSpeed = ({ shape, shaftHz }: Window, input: InputDescription | undefined): boolean =>
  input !== undefined && shape.length === 1 && shaftHz === undefined && needsShaftSpeed(input)

/** Which points have no shaft speed though the model needs one, said once when it begins and when it ends. */
export class MissingSpeed {
  private readonly input: InputDescription | undefined
  private readonly logger: Logger
  private readonly changed: () => void
  private readonly since = new Map<string, string>()

  constructor(input: InputDescription | undefined, logger: Logger, changed: () => void) {
    this.input = input
    this.logger = logger
    this.changed = changed
  }

  get problems(): Problem[] {
    return [...this.since].map(([point, since]) => ({
      code: 'CONFIG_INVALID',
      message: `${point}: the model needs the shaft speed and the point has none: say shaftHz, a tacho or shaft`,
      since,
    }))
  }

  /** Follows the windows of a point. */
  seen(point: string, window: Window): void {
    const lacks = lacksSpeed(window, this.input)
    if (lacks === this.since.has(point)) return
    if (lacks) this.since.set(point, new Date().toISOString())
    else this.since.delete(point)
    if (lacks) this.logger.warn({ point }, 'the model needs the shaft speed and the point has none; nothing is judged')
    else this.logger.info({ point }, 'the shaft speed is there')
    this.changed()
  }
}
