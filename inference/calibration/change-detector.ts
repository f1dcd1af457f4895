import { z } from 'zod'

/** A rise of a tenth of the answers from right to wrong, and a fall of the errors by a third, are worth finding soon. */
const RISE = 0.1
const FALL = 1.5
/** No calibration is trusted to fewer errors than this: a single surprise must not look like the end of the world. */
const LEAST_ERROR = 0.01

export interface ChangeDetectorOptions {
  /** Evidence, in nats, from which a change is suspected. */
  suspicion: number
  /** Evidence from which it is taken for a fact. */
  alarm: number
}

export const changeState = z.strictObject({ rise: z.number().nonnegative(), fall: z.number().nonnegative() })

export type ChangeState = z.infer<typeof changeState>

/**
 * Two cumulative sums (Page 1954) of the log-likelihood ratio of "more errors than predicted" and "fewer", over outcomes
 * whose probability was predicted. Each is zero at least, so it is the evidence since the change, whenever that was.
 */
export class ChangeDetector {
  state: ChangeState = { rise: 0, fall: 0 }
  readonly #options: ChangeDetectorOptions

  constructor(options: ChangeDetectorOptions) {
    this.#options = options
  }

  /** Evidence for a change, in nats. */
  get evidence(): number {
    return Math.max(this.state.rise, this.state.fall)
  }

  get suspects(): boolean {
    return this.evidence > this.#options.suspicion
  }

  /** Takes in an outcome; true when it makes the change a fact. The sums begin anew then. */
  add(predictedRight: number, right: boolean): boolean {
    const error = Math.min(1 - LEAST_ERROR, Math.max(LEAST_ERROR, 1 - predictedRight))
    const ratio = (other: number) => (right ? Math.log((1 - other) / (1 - error)) : Math.log(other / error))
    this.state = {
      rise: Math.max(0, this.state.rise + ratio(error + RISE * (1 - error))),
      fall: Math.max(0, this.state.fall + ratio(error / FALL)),
    }
    if (this.evidence <= this.#options.alarm) return false
    this.state = { rise: 0, fall: 0 }
    return true
  }
}
