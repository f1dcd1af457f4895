import { unknownLabel } from '@faultline/protocol'
import { shareInterval } from './proportion.ts'
import type { RecordedWindow } from './window.ts'

/** A number of windows, as far as it can be known. */
export interface Estimate {
  /** Null where no audit says anything about windows that it would need. */
  value: number | null
  /** At 95 %; windows of which nothing can be known count as none below and as all above. */
  low: number
  high: number
}

/**
 * How many of the windows that keep the local answer have some fault. Verdicts say it of some; of windows that were
 * accepted, audits are a random sample, each standing for one over the rate it was drawn with (Horvitz & Thompson 1952, here
 * as the ratio of weighted sums); of the others nothing can be known.
 */
class Count {
  known = 0
  /** Not known, but audits of the like are drawn. */
  open = 0
  dark = 0
  /** The audits among them: sums of weights, of their squares, and of weights of those with the fault. */
  #weights = 0
  #squares = 0
  #hits = 0

  addAudit(hit: boolean, rate: number): void {
    const weight = 1 / rate
    this.#weights += weight
    this.#squares += weight ** 2
    if (hit) this.#hits += weight
  }

  add(other: Count): void {
    this.known += other.known
    this.open += other.open
    this.dark += other.dark
    this.#weights += other.#weights
    this.#squares += other.#squares
    this.#hits += other.#hits
  }

  get estimate(): Estimate {
    const { known, open, dark } = this
    const share = this.#weights > 0 ? this.#hits / this.#weights : Number.NaN
    const draws = this.#weights > 0 ? this.#weights ** 2 / this.#squares : 0
    const { low, high } = shareInterval(share * draws, draws)
    return {
      value: open === 0 ? known : Number.isNaN(share) ? null : known + open * share,
      low: known + open * low,
      high: known + open * high + dark,
    }
  }
}

/** What became, or would have become, of windows under one policy at one price. */
export class Account {
  windows = 0
  sent = 0
  bytes = 0
  /** Sent windows whose size is not on record. */
  unmeasured = 0
  /** Audits among the sent. */
  audits = 0
  /** Verdicts it would have asked for that are not on record, so it could not learn from them. */
  unheard = 0
  /** Prices of what was sent, summed up. */
  paid = 0
  readonly #missed = new Count()
  readonly #wrong = new Count()

  send({ bytes }: RecordedWindow, price: number): void {
    this.sent++
    this.paid += price
    if (bytes === undefined) this.unmeasured++
    else this.bytes += bytes
  }

  /** The local answer stands. */
  keep(window: RecordedWindow, normal: string): void {
    this.#each(window, normal, (count, hit) => {
      if (hit !== undefined) count.known += Number(hit)
      else if (window.accepted && window.auditRate! > 0) count.open++
      else count.dark++
    })
  }

  /** The window is one that would be accepted, and an audit tells what it was. */
  audit(window: RecordedWindow, normal: string): void {
    if (window.audited && window.auditRate! > 0)
      this.#each(window, normal, (count, hit) => hit !== undefined && count.addAudit(hit, window.auditRate!))
  }

  add(other: Account): void {
    this.windows += other.windows
    this.sent += other.sent
    this.bytes += other.bytes
    this.unmeasured += other.unmeasured
    this.audits += other.audits
    this.unheard += other.unheard
    this.paid += other.paid
    this.#missed.add(other.#missed)
    this.#wrong.add(other.#wrong)
  }

  /** Windows accepted as normal in which the server sees, or would see, something else. */
  get missed(): Estimate {
    return this.#missed.estimate
  }

  /** Windows whose final answer is not the server's. */
  get wrong(): Estimate {
    return this.#wrong.estimate
  }

  /** Local answers that stand and that neither a verdict nor an audit of the like says anything about. */
  get unknowable(): number {
    return this.#wrong.dark
  }

  #each(
    { local, truth }: RecordedWindow,
    normal: string,
    count: (count: Count, hit: boolean | undefined) => void,
  ): void {
    // No answer at all is never right, and never "normal".
    const unknown = local.label === unknownLabel
    count(this.#wrong, unknown ? true : truth === undefined ? undefined : truth !== local.label)
    if (local.label === normal) count(this.#missed, truth === undefined ? undefined : truth !== normal)
  }
}
