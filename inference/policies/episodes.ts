import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import { isValid } from '../classification.ts'
import type { Decision, DecisionContext, Feedback, LocalResult, Policy, PolicyState } from './policy.ts'
import { RecentRounds } from './recent-rounds.ts'
import { checkState } from './state.ts'
import { innerState, WrappingPolicy } from './wrapping.ts'

export interface EpisodeOptions {
  /** Verdicts in a row that have to agree before an episode begins. */
  agreeing: number
  /** Seconds without a verdict after which one is asked for again. */
  holdS: number
}

const VERSION = 1
/** Points of a device; past this the one heard of longest ago is forgotten. */
const MOST_POINTS = 256

/** What a server said, window after window, of one condition of a point. */
const run = z.strictObject({
  point: z.string(),
  /** The condition: the device's own label. */
  local: z.string(),
  /** Verdicts since it began; from `agreeing` on the episode holds. */
  agreed: z.int().nonnegative(),
  /** The server's label and its latest confidence; null before the first verdict. */
  answer: z.strictObject({ label: z.string(), confidence: z.number() }).nullable(),
  /** Confidences of the device that these verdicts were given for; null before the first. */
  range: z.tuple([z.number(), z.number()]).nullable(),
  /** Window time of the latest verdict, in ms. */
  confirmedAt: z.number(),
})
type Run = z.infer<typeof run>

const episodeData = z.strictObject({
  windows: z.int().nonnegative(),
  verdicts: z.array(z.int().nonnegative()).max(RecentRounds.capacity),
  runs: z.array(run).max(MOST_POINTS),
  inner: innerState,
})

/**
 * Stops asking about what a server has just answered, several times in a row: windows of a stream resemble each other.
 *
 * After `agreeing` verdicts of one label on windows of one point to which the device itself gave one label, further such
 * windows are accepted with the server's label, until the device's label changes, its confidence leaves the range for
 * which the server has answered, a verdict disagrees (of an audit, for one), or `holdS` seconds have passed since the last
 * verdict; a single verdict then renews it. A confidence like n others leaves their range with probability
 * 2 / (n + 1) and widens it, so such questions die out, while a machine that changes asks at once.
 *
 * Escalations that another policy makes in order to learn (`explores`) are left alone. With `off` all are.
 */
export class EpisodicPolicy extends WrappingPolicy {
  readonly #options: EpisodeOptions | 'off'
  /** Ordered by the latest window, oldest first. */
  readonly #runs = new Map<string, Run>()
  readonly #verdicts = new RecentRounds()
  #windows = 0

  constructor(inner: Policy, options: EpisodeOptions | 'off') {
    super(inner)
    this.#options = options
  }

  decide(local: LocalResult, context: DecisionContext): Decision {
    const decision = this.inner.decide(local, context)
    const options = this.#options
    if (options === 'off' || !isValid(local.probabilities, local.classes.length)) return decision
    const { point = '', at = 0 } = context
    const found = this.#reach(point, local.label)
    const { token } = decision
    const marked = { ...decision, token: { ...token, window: ++this.#windows, at } }
    if (decision.action === 'accept' || decision.explores || !found.answer || !found.range) return marked
    const { agreed, answer, range, confirmedAt } = found
    const ageS = (at - confirmedAt) / 1_000
    const known = local.confidence >= range[0] && local.confidence <= range[1]
    if (agreed < options.agreeing || !known || ageS > options.holdS) return marked
    const numbers = { ...decision.numbers, agreed, sinceVerdictS: Math.max(0, ageS) }
    return { ...marked, action: 'accept', reason: 'episode', numbers, answer: { ...answer } }
  }

  override learn(feedback: Feedback): void {
    const { window, at, ...token } = feedback.token ?? {}
    this.inner.learn({ ...feedback, token: Object.keys(token).length > 0 ? token : undefined })
    if (window === undefined || !this.#verdicts.add(window)) return
    const { local, remote, point = '' } = feedback
    const found = this.#runs.get(point)
    // The condition has changed since: this verdict is about one that is over.
    if (!found || found.local !== local.label || !isValid(local.probabilities, local.classes.length)) return
    const { label, confidence } = remote
    const agrees = found.answer?.label === label
    const [low, high] = (agrees && found.range) || [local.confidence, local.confidence]
    found.agreed = agrees ? found.agreed + 1 : 1
    found.answer = { label, confidence }
    found.range = [Math.min(low, local.confidence), Math.max(high, local.confidence)]
    found.confirmedAt = agrees ? Math.max(found.confirmedAt, at ?? 0) : (at ?? 0)
  }

  snapshot(): PolicyState {
    const runs = [...this.#runs.values()].map(({ answer, range, ...rest }) => ({
      ...rest,
      answer: answer && { ...answer },
      range: range && ([...range] as [number, number]),
    }))
    return this.stateOf('episodes', VERSION, { windows: this.#windows, verdicts: this.#verdicts.rounds, runs })
  }

  restore(state: PolicyState): void {
    checkState(state, 'episodes', VERSION)
    const parsed = episodeData.safeParse(state.data)
    if (!parsed.success) throw new FaultlineError('POLICY_STATE_INVALID', 'the state of the episodes is damaged')
    const { windows, verdicts, runs, inner } = parsed.data
    this.inner.restore(inner)
    this.#windows = windows
    this.#verdicts.rounds = verdicts
    this.#runs.clear()
    for (const each of runs) this.#runs.set(each.point, each)
  }

  /** The run of verdicts on what the point shows now; a new one when it shows something else. */
  #reach(point: string, local: string): Run {
    const before = this.#runs.get(point)
    const now: Run =
      before?.local === local ? before : { point, local, agreed: 0, answer: null, range: null, confirmedAt: 0 }
    this.#runs.delete(point)
    if (this.#runs.size >= MOST_POINTS) this.#runs.delete(this.#runs.keys().next().value!)
    this.#runs.set(point, now)
    return now
  }
}
