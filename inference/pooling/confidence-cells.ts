import { FaultlineError } from '@faultline/protocol'
import type { Evidence } from './evidence.ts'

/** Cells per halving of the doubt 1 - p, and halvings: down to a doubt of 2^-16. */
const PER_HALVING = 4
const CELLS = 64

export interface CellState {
  seen: number[]
  asked: number[]
  right: number[]
}

/**
 * Answers, verdicts and right answers by confidence, in cells that are the same on every device: bins are laid where
 * a device's own answers are, so counters per bin do not add up. Each cell holds doubts a sixth smaller than the one before.
 */
export class ConfidenceCells {
  static readonly kind = 'confidence-cells'
  static readonly count = CELLS
  state: CellState = { seen: zeros(), asked: zeros(), right: zeros() }

  see(confidence: number): void {
    this.state.seen[cellOf(confidence)]!++
  }

  add(confidence: number, isRight: boolean): void {
    const cell = cellOf(confidence)
    this.state.asked[cell]!++
    if (isRight) this.state.right[cell]!++
  }

  get evidence(): Evidence | undefined {
    const { seen, asked, right } = this.state
    const verdicts = sumOf(asked)
    return verdicts === 0 ? undefined : { kind: ConfidenceCells.kind, verdicts, sums: [...seen, ...asked, ...right] }
  }

  /** Reads evidence. Throws `POLICY_STATE_INVALID` for what no device can have counted. */
  static read({ kind, sums }: Evidence): CellState {
    const [seen, asked, right] = [0, 1, 2].map(part => sums.slice(part * CELLS, (part + 1) * CELLS)) as [
      number[],
      number[],
      number[],
    ]
    const counted = (value: number, cell: number) =>
      Number.isFinite(value) && right[cell]! >= 0 && right[cell]! <= asked[cell]! && asked[cell]! >= 0 && value >= 0
    if (kind !== ConfidenceCells.kind || sums.length !== 3 * CELLS || !seen.every(counted))
      throw new FaultlineError('POLICY_STATE_INVALID', `this is no evidence of ${ConfidenceCells.kind}`)
    return { seen, asked, right }
  }

  /** The smallest confidence of a cell. */
  static from(cell: number): number {
    return cell === 0 ? 0 : 1 - 2 ** (-cell / PER_HALVING)
  }

  /** A confidence inside the cell. */
  static within(cell: number): number {
    return 1 - 2 ** (-(cell + 0.5) / PER_HALVING)
  }
}

export const sumOf = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0)

function cellOf(confidence: number): number {
  const doubt = Math.max(1 - confidence, 2 ** -(CELLS / PER_HALVING))
  return Math.min(CELLS - 1, Math.floor(-Math.log2(doubt) * PER_HALVING))
}

function zeros(): number[] {
  return new Array<number>(CELLS).fill(0)
}
