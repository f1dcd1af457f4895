import { FaultlineError } from '@faultline/protocol'
import { cholesky } from '../calibration/matrix.ts'
import { ConfidenceCells, sumOf } from './confidence-cells.ts'
import type { Evidence } from './evidence.ts'
import { LogisticEvidence } from './logistic-evidence.ts'

/** No feature of an answer is larger than 14 (a logit of one in a million), and p (1 - p) no larger than a quarter. */
const MOST_PER_VERDICT = 14 ** 2 / 4
/** Digits lost on the way, as a share of the trace. */
const ROUNDING = 1e-4

const checks: Record<string, (evidence: Evidence) => boolean> = {
  [ConfidenceCells.kind]: evidence => Math.abs(sumOf(ConfidenceCells.read(evidence).asked) - evidence.verdicts) <= 1,
  [LogisticEvidence.kind]: evidence => {
    const { size, precision, shift } = LogisticEvidence.read(evidence)
    const most = MOST_PER_VERDICT * evidence.verdicts
    if ([...precision, ...shift].some(value => Math.abs(value) > most)) return false
    const matrix = new Float64Array(size * size)
    let trace = 0
    for (let i = 0, place = 0; i < size; i++)
      for (let j = 0; j <= i; j++, place++) {
        matrix[i * size + j] = precision[place]!
        matrix[j * size + i] = precision[place]!
        if (i === j) trace += precision[place]!
      }
    for (let i = 0; i < size; i++) matrix[i * size + i]! += ROUNDING * trace + Number.EPSILON
    return cholesky(matrix, size) !== undefined
  },
}

/**
 * Throws `POLICY_STATE_INVALID` for evidence of a kind nobody knows, and for what so many verdicts cannot have taught: one
 * device that is wrong must not spoil what all others start from.
 */
export function checkEvidence(evidence: Evidence): void {
  const { kind, verdicts } = evidence
  if (Object.hasOwn(checks, kind) && checks[kind]!(evidence)) return
  throw new FaultlineError('POLICY_STATE_INVALID', `${verdicts} verdicts cannot have taught this evidence of "${kind}"`)
}
