import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { Belief, type BeliefState, beliefState, type Estimate } from '../calibration/belief.ts'
import type { CalibrationModel } from '../calibration/calibration.ts'
import { ChangeDetector, type ChangeState, changeState } from '../calibration/change-detector.ts'
import { featuresOf, MOST_OFFSETS, offsetsFor, priorOf, shapeNames } from '../calibration/features.ts'
import { dot, sigmoid } from '../calibration/logistic.ts'
import { ResidualCounters, type ResidualState, residualStateFor } from '../calibration/residual-counters.ts'
import { ServerTrust, type ServerTrustModel } from '../calibration/server-trust.ts'
import { capped, type Evidence, type Poolable } from '../pooling/evidence.ts'
import { LogisticEvidence, type LogisticEvidenceState, logisticEvidenceState } from '../pooling/logistic-evidence.ts'
import { Random, type RandomState } from '../random.ts'
import { factory } from './factory.ts'
import type { Decision, DecisionContext, Feedback, LocalResult } from './policy.ts'
import { randomState } from './state.ts'
import { isWrong, StatefulPolicy } from './stateful.ts'

export interface DefaultOptions {
  /** As the local model's bundle carries it; without one the policy starts from scratch. */
  calibration?: CalibrationModel
  /** As the bundle carries it, where the server's answers are known too; its `agreement` takes the place of `calibration`. */
  server?: ServerTrustModel
  /** Bins of the counters. */
  bins: number
  /** What random checks of accepted answers may cost per window, in units of one wrong accepted answer. */
  checkBudget: number
  seed: number
  model?: string
}

interface Memory {
  random: RandomState
  /** Null before the first answer shows how many classes there are. */
  belief: BeliefState | null
  /** Of own outcomes since the last change. */
  evidence: LogisticEvidenceState
  counters: ResidualState
  change: ChangeState
  /** Checks run at the higher rate up to this round. */
  watchUntil: number
}

/** Standard deviations of the logit that an answer has to be better than it needs: what is not known yet is asked about. */
const CAUTION = 0.5
const WARM_UP = 256
/** Evidence in nats: once in e^5 outcomes chance suspects a change, and hardly ever in e^8 proves one. */
const SUSPICION = 5
const ALARM = 8
/** While a change is suspected, checks may cost this many times more. */
const WATCHFULNESS = 100
const LARGEST_RATE = 0.02
const LARGEST_WATCH_RATE = 0.5
/** Windows after a change during which checks stay frequent. */
const WATCH = 300
/** Variance of the logit above which a prediction is no yardstick for a change. */
const UNSURE = 1

/**
 * Escalates where P(the local answer is wrong) is more than the price. The probability comes from the bundle's
 * calibration (`Calibration`, on more than the top score), which every verdict refines; without one it starts from a
 * sceptical reading of the softmax. Four things keep it honest, since only escalated windows teach it: what is little
 * known needs a margin to be accepted; a few accepted answers are checked at random; counters per bin of the calibrated
 * score take over where they contradict the prediction (after HI-LCB, arXiv 2508.08985); and a test for change first
 * buys more checks and, once sure, lets everything be learned anew.
 *
 * Unless a change is suspected, checks cost at most `checkBudget` per window, so they are rarer where asking is dear. They are no
 * audits: those are drawn from what remains accepted.
 *
 * A server is taken for the truth unless the bundle says how far it is to be believed (`ServerTrust`). Then "right" means that
 * the server agrees, which is all that verdicts ever show, and a window is escalated where P(it does not) times trust is more than the
 * price.
 *
 * The constants below were chosen on synthetic classifiers (two, four and ten classes; over- and underconfident; with
 * uneven classes, noisy labels and shifts). `checkBudget`, `SUSPICION` and `CAUTION` were settled with the public traces in
 * view as well, which `docs/reference/what-if.md` says beside the figures.
 */
export class DefaultPolicy extends StatefulPolicy<Memory> implements Poolable {
  readonly name = 'default'
  protected readonly memorySchema: z.ZodType<Memory>
  readonly #checkBudget: number
  readonly #trust: ServerTrust | undefined
  /** Weights of a score that never moves, so that bins keep their meaning. */
  readonly #fixed: readonly number[] | undefined
  #belief: Belief | undefined
  readonly #evidence = new LogisticEvidence()
  readonly #counters: ResidualCounters
  readonly #change = new ChangeDetector({ suspicion: SUSPICION, alarm: ALARM })
  #watchUntil = 0
  #random: Random

  constructor({ server, calibration: correctness, bins, checkBudget, seed, model }: DefaultOptions) {
    super(model)
    const calibration = server?.agreement ?? correctness
    this.#trust = server && new ServerTrust(server)
    const sizes = calibration ? [calibration.belief.mean.length] : possibleSizes
    const counters = { bins, edges: calibration?.edges, warmUp: WARM_UP }
    this.#checkBudget = checkBudget
    this.#counters = new ResidualCounters(counters)
    this.#random = new Random(seed)
    this.#fixed = calibration?.belief.mean
    if (calibration) this.#belief = Belief.of(calibration.belief)
    this.memorySchema = z.strictObject({
      random: randomState,
      belief: beliefState.refine(({ mean }) => sizes.includes(mean.length)).nullable(),
      evidence: logisticEvidenceState,
      counters: residualStateFor(counters),
      change: changeState,
      watchUntil: z.int().nonnegative(),
    })
  }

  protected judge(local: LocalResult, { price }: DecisionContext): Decision {
    const { estimate, score } = this.#read(local)
    this.#counters.see(score)
    const objection = this.#counters.objection(score)
    const right = objection ?? sigmoid(estimate.logit - CAUTION * Math.sqrt(estimate.variance))
    // Only where the two differ does asking change the answer, and then the server is not always the one that is right.
    const trust = this.#trust?.trust(local.probabilities) ?? 1
    const numbers = { score: local.confidence, right, price, ...(this.#trust && { trust }) }
    const token = this.token()
    if ((1 - right) * trust > price) {
      const reason = objection === undefined ? 'cheaper-to-ask' : 'counters-ask'
      const explores = objection === undefined && (1 - sigmoid(estimate.logit)) * trust <= price
      return { action: 'escalate', reason, numbers, token, explores }
    }
    const checkRate = this.#checkRate(price)
    // Where trust is below the price, nothing that a check could find would be worth asking for.
    if (trust >= price && this.#random.uniform() < checkRate)
      return { action: 'escalate', reason: 'checked', numbers: { ...numbers, checkRate }, token, explores: true }
    const distrusts = 1 - right > price
    return {
      action: 'accept',
      reason: distrusts ? 'server-no-better' : objection === undefined ? 'cheaper-to-accept' : 'counters-accept',
      numbers,
      token,
    }
  }

  protected study(feedback: Feedback): void {
    const { estimate, score, row, belief } = this.#read(feedback.local)
    const right = !isWrong(feedback)
    if (estimate.variance < UNSURE && this.#change.add(estimate.right, right)) {
      belief.widen(priorOf(belief.size - shapeNames.length))
      this.#counters.clear()
      this.#evidence.clear()
      this.#watchUntil = this.rounds + WATCH
    }
    this.#counters.add(score, estimate.right, right)
    this.#evidence.add(row, belief.learn(row, right))
  }

  get evidenceKind(): string {
    return LogisticEvidence.kind
  }

  /** The counters stay here: they compare outcomes with what this device predicted of them. */
  evidence(): Evidence | undefined {
    return this.#evidence.evidence
  }

  adopt(given: Evidence): void {
    const { size, precision, shift } = LogisticEvidence.read(capped(given))
    const known = this.#belief ? [this.#belief.size] : possibleSizes
    const belief = this.#belief ?? (known.includes(size) && Belief.ofPrior(priorOf(size - shapeNames.length)))
    if (!belief || belief.size !== size || !belief.absorb(precision, shift))
      throw new FaultlineError('POLICY_STATE_INVALID', 'the evidence does not fit the weights')
    this.#belief = belief
  }

  protected memory(): Memory {
    return {
      random: this.#random.state,
      belief: this.#belief?.state ?? null,
      evidence: this.#evidence.state,
      counters: this.#counters.state,
      change: { ...this.#change.state },
      watchUntil: this.#watchUntil,
    }
  }

  protected recall({ random, belief, evidence, counters, change, watchUntil }: Memory): void {
    this.#random = new Random(random)
    this.#belief = belief ? Belief.of(belief) : undefined
    this.#evidence.state = evidence
    this.#counters.state = counters
    this.#change.state = change
    this.#watchUntil = watchUntil
  }

  #checkRate(price: number): number {
    const watching = this.#change.suspects || this.rounds <= this.#watchUntil
    return watching
      ? Math.min(LARGEST_WATCH_RATE, (WATCHFULNESS * this.#checkBudget) / price)
      : Math.min(LARGEST_RATE, this.#checkBudget / price)
  }

  #read({ probabilities, classes }: LocalResult): { estimate: Estimate; score: number; row: number[]; belief: Belief } {
    this.#belief ??= Belief.ofPrior(priorOf(offsetsFor(classes.length)))
    const belief = this.#belief
    const offsets = belief.size - shapeNames.length
    const row = featuresOf(probabilities, offsets)
    const fixed = this.#fixed ?? priorOf(offsets).mean
    return { estimate: belief.estimate(row), score: sigmoid(dot(fixed, row)), row, belief }
  }
}

/** With or without a weight for every class. */
const possibleSizes = Array.from({ length: MOST_OFFSETS + 1 }, (_, offsets) => shapeNames.length + offsets)

const schema = z.strictObject({
  bins: z.int().min(1).max(1_024).default(16),
  checkBudget: z.number().nonnegative().max(1).default(0.0002),
})

export const createDefault = factory(
  'default',
  schema,
  (given, { calibration, server, digest }, seed) =>
    new DefaultPolicy({ ...given, calibration, server, seed, model: digest }),
)
