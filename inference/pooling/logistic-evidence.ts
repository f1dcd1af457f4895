import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import type { Site } from '../calibration/belief.ts'
import type { Evidence } from './evidence.ts'

export const logisticEvidenceState = z.strictObject({
  verdicts: z.int().nonnegative(),
  sums: z.array(z.number()).max(1_024),
})

export type LogisticEvidenceState = z.infer<typeof logisticEvidenceState>

/**
 * What outcomes say of the weights of a logistic regression, apart from the prior: the sums over outcomes of curvature
 * times x xᵀ (lower triangle, row by row) and of its natural shift times x. In these parameters Gaussians multiply by
 * addition, so devices that begin with the same calibration can add theirs up (sites of expectation propagation,
 * Gelman et al. 2020, "Expectation propagation as a way of life").
 */
export class LogisticEvidence {
  static readonly kind = 'logistic'
  #verdicts = 0
  #sums: number[] = []

  add(row: readonly number[], { curvature, shift }: Site): void {
    const size = row.length
    if (this.#sums.length === 0) this.#sums = new Array<number>(lengthFor(size)).fill(0)
    let place = 0
    for (let i = 0; i < size; i++) for (let j = 0; j <= i; j++) this.#sums[place++]! += curvature * row[i]! * row[j]!
    for (let i = 0; i < size; i++) this.#sums[place++]! += shift * row[i]!
    this.#verdicts++
  }

  clear(): void {
    this.#verdicts = 0
    this.#sums = []
  }

  get evidence(): Evidence | undefined {
    const { verdicts, sums } = this.state
    return verdicts === 0 ? undefined : { kind: LogisticEvidence.kind, verdicts, sums }
  }

  get state(): LogisticEvidenceState {
    return { verdicts: this.#verdicts, sums: [...this.#sums] }
  }

  set state({ verdicts, sums }: LogisticEvidenceState) {
    this.#verdicts = verdicts
    this.#sums = sums
  }

  /** Precision (lower triangle) and shift. Throws `POLICY_STATE_INVALID` for sums of no such size. */
  static read({ kind, sums }: Evidence): { size: number; precision: number[]; shift: number[] } {
    const size = (Math.sqrt(9 + 8 * sums.length) - 3) / 2
    if (kind !== LogisticEvidence.kind || !Number.isInteger(size) || size < 1 || !sums.every(Number.isFinite))
      throw new FaultlineError('POLICY_STATE_INVALID', `this is no evidence of ${LogisticEvidence.kind}`)
    return { size, precision: sums.slice(0, -size), shift: sums.slice(-size) }
  }
}

/** A triangle and a row. */
const lengthFor = (size: number): number => (size * (size + 1)) / 2 + size
