import { createPolicy, type LocalResult, type Policy, type PolicySettings, policyModelOf } from '@faultline/inference'
import {
  type AnsweredVerdict,
  type Escalation,
  isRejected,
  type Message,
  type TopicAddress,
  toFaultlineError,
  type Verdict,
} from '@faultline/protocol'
import { type Logger, ServerReach } from '@faultline/runtime'
import type { ServedModel } from './model-host.ts'
import type { QueuedEscalation } from './queue.ts'

export interface SecondOpinionSettings {
  /** Decides whether an answer of the model here is given, or asked about further up. */
  policy: PolicySettings
  /** Of asking, in wrong answers. */
  price: number
}

export interface SecondOpinionsOptions extends SecondOpinionSettings {
  /** By task. */
  models: ReadonlyMap<string, ServedModel>
  /** Windows that may wait for an answer from above, and bytes of them; beyond, the answer from here stands. */
  maxItems: number
  maxBytes: number
  /** Rejects, or never resolves, where there is no connection. */
  publish(address: Extract<TopicAddress, { kind: 'upstream-escalation' }>, payload: Escalation): Promise<void>
  /** Called once for each escalation that `ask` has taken. */
  answer(item: QueuedEscalation, verdict: Verdict): void
  logger: Logger
}

interface Pending {
  item: QueuedEscalation
  /** What stands unless another comes in time. */
  first: AnsweredVerdict
  askedAt: number
  timer: NodeJS.Timeout
  learn(remote: AnsweredVerdict): void
}

/** Kept of a device's patience for the ways between it and here: the one it has come already took time that nobody here knows. */
const waysShare = 0.25

/**
 * The third tier: where a policy is not sure of an answer given here, the window is escalated once more, with what is left of its
 * deadline. Servers above answer by the same contract, and a bridge carries both ways. Whatever happens there, each escalation is
 * answered once and in time: without an answer from above, by the one from here.
 */
export class SecondOpinions {
  /** Since the start. What was asked ended in one of the others, or waits. */
  readonly counts = { asked: 0, confirmed: 0, changed: 0, rejected: 0, late: 0 }
  private readonly options: SecondOpinionsOptions
  private readonly reach = new ServerReach()
  /** By task; one begins anew with another model. */
  private readonly policies = new Map<string, { digest: string; policy: Policy }>()
  private readonly pending = new Map<string, Pending>()
  private bytes = 0
  private open = false

  constructor(options: SecondOpinionsOptions) {
    this.options = options
  }

  get waiting(): number {
    return this.pending.size
  }

  /** Throws the errors of `createPolicy` for a policy that does not fit a model. */
  start(): void {
    for (const model of this.options.models.values()) this.policyFor(model)
    this.open = true
  }

  /** What waits is answered as it was answered here. */
  stop(): void {
    this.open = false
    for (const id of [...this.pending.keys()]) this.settle(id)
  }

  /** Takes an answer over where it is worth asking further up, and answers later; false where it stands. */
  ask(item: QueuedEscalation, first: Verdict): boolean {
    if (!this.open || isRejected(first)) return false
    // A copy of one that waits is answered with it. Where another point gave the same id, the answer from here stands.
    const waiting = this.pending.get(first.id)
    if (waiting) return isSamePoint(waiting.item.replyTo, item.replyTo)
    const decided = this.decide(item, first)
    if (!decided) return false
    const { id } = first
    const leftMs = item.expiresAt - performance.now() - (item.expiresAt - item.receivedAt) * waysShare
    if (leftMs < 1 || !this.hasRoom(item) || this.reach.paused || !this.reach.mayAsk()) return false
    const timer = setTimeout(() => this.late(id), leftMs)
    this.pending.set(id, { item, first, askedAt: performance.now(), timer, learn: decided.learn })
    this.bytes += item.bytes
    this.counts.asked++
    this.options.logger.debug({ id, reason: decided.reason, leftMs: Math.round(leftMs) }, 'second opinion asked for')
    this.send(item, first, decided.reason, leftMs)
    return true
  }

  /** A verdict from above, for this agent or another. */
  receive({ address, payload }: Extract<Message, { kind: 'upstream-verdict' }>): void {
    const pending = this.pending.get(payload.id)
    if (!pending || !isSamePoint(pending.item.replyTo, address)) {
      this.reach.heard()
      return
    }
    this.reach.answered()
    const { logger } = this.options
    const { id, agent } = payload
    const tookMs = Math.round(performance.now() - pending.askedAt)
    if (isRejected(payload)) {
      this.counts.rejected++
      this.reach.pause(payload.retryAfterMs ?? 0)
      logger.debug({ id, agent, rejected: payload.rejected, tookMs }, 'second opinion rejected')
      this.settle(id)
      return
    }
    this.counts[payload.label === pending.first.label ? 'confirmed' : 'changed']++
    logger.debug({ id, agent, label: payload.label, instead: pending.first.label, tookMs }, 'second opinion')
    pending.learn(payload)
    this.settle(id, payload)
  }

  private decide(
    item: QueuedEscalation,
    first: AnsweredVerdict,
  ): { reason: string; learn: Pending['learn'] } | undefined {
    const { escalation, replyTo } = item
    const model = this.options.models.get(escalation.task)
    // Another model has taken its place since.
    if (model?.model.digest !== first.model.digest) return undefined
    const policy = this.policyOrNone(model)
    if (!policy) return undefined
    const { label, confidence, probabilities } = first
    const local: LocalResult = { label, confidence, probabilities, classes: model.classes }
    const price = this.reach.price(this.options.price)
    const point = [replyTo.site, replyTo.device, replyTo.point].join('/')
    const { action, reason, token } = policy.decide(local, { price, point, at: Date.parse(escalation.at) })
    if (action === 'accept') return undefined
    const learn = ({ label, confidence, probabilities }: AnsweredVerdict) =>
      policy.learn({ local, remote: { label, confidence, probabilities }, price, point, ...(token && { token }) })
    return { reason, learn }
  }

  /** To the servers above this agent is what a device is to this agent. */
  private send(
    { escalation, replyTo }: QueuedEscalation,
    first: AnsweredVerdict,
    reason: string,
    leftMs: number,
  ): void {
    const { id, label, confidence, probabilities, model } = first
    const { site, device, point } = replyTo
    // On the device's clock, where only the difference counts.
    const deadline = new Date(Date.parse(escalation.at) + leftMs).toISOString()
    const local = { label, confidence, probabilities, digest: model.digest }
    this.options
      .publish({ kind: 'upstream-escalation', site, device, point }, { ...escalation, reason, deadline, local })
      .catch(thrown => {
        this.options.logger.debug({ id, error: toFaultlineError(thrown).message }, 'second opinion not asked for')
        if (this.pending.has(id)) this.late(id)
      })
  }

  private late(id: string): void {
    this.counts.late++
    this.reach.late()
    this.options.logger.debug({ id }, 'no second opinion in time')
    this.settle(id)
  }

  private settle(id: string, verdict?: AnsweredVerdict): void {
    const { item, first, timer } = this.pending.get(id)!
    clearTimeout(timer)
    this.pending.delete(id)
    this.bytes -= item.bytes
    this.options.answer(item, verdict ?? first)
  }

  private hasRoom({ bytes }: QueuedEscalation): boolean {
    const { maxItems, maxBytes } = this.options
    return this.pending.size < maxItems && this.bytes + bytes <= maxBytes
  }

  private policyOrNone(model: ServedModel): Policy | undefined {
    try {
      return this.policyFor(model)
    } catch (thrown) {
      this.options.logger.error({ task: model.task, error: toFaultlineError(thrown).message }, 'no second opinions')
      return undefined
    }
  }

  private policyFor({ task, model: { digest }, description }: ServedModel): Policy {
    const known = this.policies.get(task)
    if (known?.digest === digest) return known.policy
    const policy = createPolicy(this.options.policy, policyModelOf(digest, description))
    this.policies.set(task, { digest, policy })
    return policy
  }
}

const isSamePoint = (a: QueuedEscalation['replyTo'], b: Omit<QueuedEscalation['replyTo'], 'kind'>): boolean =>
  a.site === b.site && a.device === b.device && a.point === b.point
