import { createPolicy, type PolicyModel } from '@faultline/inference'
import { meanOf } from '../../trace/interval.ts'
import { below, bestFixedThreshold, decider } from '../../trace/replay.ts'
import { isLocalRight, isRemoteRight, type Trace } from '../../trace/trace.ts'
import { type Interval, wilson } from '../intervals.ts'

/**
 * `never` and `always` escalate; `partitioning`, which sends something for every image; hierarchical inference as a device
 * runs it (`default`) and by the calibrated confidence alone (`calibrated`: accepted from 1 - b on); and what no device
 * can know, the best threshold in hindsight.
 */
export const methods = ['never', 'always', 'partitioning', 'default', 'calibrated', 'best-fixed'] as const
export type Method = (typeof methods)[number]

/** What a method makes of the images at one price. */
export interface MethodFigures {
  method: Method
  /** Of an escalation, in wrong answers. */
  price: number
  accuracy: Interval
  /** Share of images for which something is sent up. */
  sent: Interval
  /** Wrong answers plus price times what is sent, per image. */
  cost: Interval
}

/** For each image, whether it goes to the server. */
export type Choice = readonly boolean[]

export interface Deciding {
  trace: Trace
  /** As the local bundle carries it. */
  model: PolicyModel
  seed: number
}

export function choicesOf(method: Method, price: number, { trace, model, seed }: Deciding): Choice {
  const { rows } = trace
  switch (method) {
    case 'never':
      return rows.map(() => false)
    case 'always':
    case 'partitioning':
      return rows.map(() => true)
    case 'best-fixed':
      return rows.map(below(bestFixedThreshold(rows, price)))
    default:
      return rows.map(decider(createPolicy({ name: method }, model, seed), price, trace))
  }
}

export function figuresOf(method: Method, price: number, choice: Choice, { rows }: Trace): MethodFigures {
  const right = rows.map((row, i) => (choice[i] ? isRemoteRight(row) : isLocalRight(row)))
  const count = (flags: readonly boolean[]) => flags.filter(Boolean).length
  return {
    method,
    price,
    accuracy: wilson(count(right), rows.length),
    sent: wilson(count(choice), rows.length),
    cost: meanOf(right.map((isRight, i) => Number(!isRight) + (choice[i] ? price : 0))),
  }
}
