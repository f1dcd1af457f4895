import {
  type AnsweredVerdict,
  encodePayload,
  type Inference,
  isRejected,
  type TopicAddress,
  type Verdict,
} from '@faultline/protocol'
import { ServerReach } from '@faultline/runtime'
import type { RuntimeSettings } from '../control/configuration.ts'
import type { ByteBudget } from '../link/byte-budget.ts'
import type { WindowQuote } from '../link/pricing.ts'
import { RoundTrips } from '../link/round-trips.ts'
import type { AgentPoint } from '../point-monitor.ts'
import { PointReporting, type ReportSink } from '../reports/reporting.ts'
import type { SourceWindow } from '../sources/source.ts'
import type { Publisher } from '../spool/outbox.ts'
import type { NewMessage } from '../spool/spool.ts'
import { assess, type LocalModel } from './assessment.ts'
import type { AuditKeeper } from './audit-keeper.ts'
import type { CommissioningKeeper } from './commissioning-keeper.ts'
import { type Unsent, WindowCounters } from './counters.ts'
import { type EscalationSize, expectedSize, sizeOf } from './escalation-size.ts'
import { Escalations, type Settlement } from './escalations.ts'
import { MachineFaults } from './machine-faults.ts'
import type { Decider } from './policy-keeper.ts'
import { escalationOf, inferenceOf, recordOf, revisionOf, type WindowRecord } from './window-record.ts'

export interface WindowFlowOptions {
  site: string
  device: string
  model: LocalModel
  points: readonly AgentPoint[]
  publisher: Publisher
  /** Told of every decision and of every verdict, once. */
  audits: Pick<AuditKeeper, 'decided' | 'answered'>
  /** Takes the bytes of an escalation, or has none left. */
  budget: Pick<ByteBudget, 'spend' | 'leftFor'>
  /** What escalating so many bytes would cost now. */
  quote: (bytes: number) => WindowQuote
  /** A server's model took so long over a window. */
  answered: (inferMs: number) => void
  /** What is normal for each point, where points learn it. */
  commissioning?: Pick<CommissioningKeeper, 'judge'>
  /** Where inferences and summaries go that are to be published, and escalations that wait for a connection. */
  send: (address: TopicAddress, payload: Buffer, worth?: Pick<NewMessage, 'notable' | 'value'>) => void
  /** Told of every inference, published or not. */
  announce: (inference: Inference, record: WindowRecord) => void
  /** An escalation begins or ends: its id is the thread through the logs of device and server. */
  trace?: (fields: { id: string; point: string; outcome?: string; afterMs?: number }, what: string) => void
  /** Something could not be published, because it does not fit the contract. */
  failed: (thrown: unknown) => void
}

/** What decides at this moment. */
export interface Rules {
  settings: RuntimeSettings
  /** The policy of a point. */
  policies: { of(point: string): Decider }
}

/** The life of a window: assessed, then accepted or escalated, and in the end exactly one inference. */
export class WindowFlow {
  readonly counters = new WindowCounters()
  readonly roundTrips = new RoundTrips()
  readonly reach = new ServerReach()
  /** Escalations sent for an audit, and verdicts that came after their deadline. */
  audits = 0
  revisions = 0
  /** Bytes of topics and payloads: windows that were sent, and windows that did not have to be. */
  readonly bytes = { escalated: 0, avoided: 0 }
  private readonly options: WindowFlowOptions
  private readonly escalations: Escalations<WindowRecord>
  private readonly faults: MachineFaults
  private readonly reporting = new Map<string, PointReporting>()
  private readonly sizes = new Map<string, EscalationSize>()
  private rules: Rules

  constructor(options: WindowFlowOptions, rules: Rules) {
    this.options = options
    this.rules = rules
    this.faults = new MachineFaults(options.model.bundle?.description.normal)
    this.escalations = new Escalations({
      settled: (record, settlement, afterMs) => this.settled(record, settlement, afterMs),
      revised: (record, verdict, afterMs) => this.revised(record, verdict, afterMs),
    })
    for (const { point, machine } of options.points) {
      this.reporting.set(point, new PointReporting(machine, rules.settings.reporting, this.sinkFor(point)))
    }
  }

  get pending(): number {
    return this.escalations.size
  }

  /** How long a window waits for a verdict. */
  get deadlineMs(): number {
    return this.reach.deadlineMs(this.rules.settings.deadlineMs, this.roundTrips.summary)
  }

  /** From the next window on. */
  setRules(rules: Rules): void {
    this.rules = rules
    for (const reporting of this.reporting.values()) reporting.setMode(rules.settings.reporting)
  }

  /** Takes one window through. Throws `WINDOW_INVALID` for one that is none, which counts nowhere. */
  async handle(point: AgentPoint, window: SourceWindow): Promise<void> {
    const { model, publisher } = this.options
    const size = this.sizeOf(point, window)
    const quoted = this.options.quote(size.packet)
    const quote = { ...quoted, price: this.reach.price(quoted.price) }
    const context = { ...quote, point: point.point, at: window.at.getTime() }
    const judge = this.options.commissioning?.judge(point.point)
    const assessment = await assess(window.window, model, this.rules.policies.of(point.point), context, judge)
    const record = recordOf(window, point, assessment, model, quote)
    this.options.audits.decided(record)
    record.escalationBytes = size.content
    if (assessment.decision.action === 'accept') {
      this.bytes.avoided += size.content
      this.conclude(record, 'accepted')
    } else if (!publisher.online) {
      this.conclude(record, 'offline')
      this.defer(record, window)
    } else if (this.reach.paused) this.conclude(record, 'rejected')
    else if (!this.reach.mayAsk()) this.forgo(record)
    else this.escalate(record, window)
  }

  /** A server has spoken about a window of a point. */
  receive(point: string, verdict: Verdict): void {
    if (isRejected(verdict) && this.escalations.awaits(point, verdict.id)) this.reach.pause(verdict.retryAfterMs ?? 0)
    this.escalations.receive(point, verdict)
  }

  /** Publishes the summaries since the last time. */
  flushSummaries(): void {
    for (const reporting of this.reporting.values()) reporting.flush()
  }

  /** The next inference of every point is published, for those who have not heard of it for long. */
  renewReports(): void {
    for (const reporting of this.reporting.values()) reporting.renew()
  }

  /** Waits a while for verdicts under way, then ends every window with the local answer. */
  async finish(timeoutMs: number): Promise<void> {
    await this.escalations.idle(timeoutMs)
    this.escalations.abandonAll()
    this.flushSummaries()
  }

  private conclude(record: WindowRecord, outcome: Unsent): void {
    this.counters.conclude(outcome)
    this.publish(record, inferenceOf(record, outcome))
  }

  /** Servers do not answer: the local answer stands at once. One that was only to be learned from is accepted. */
  private forgo(record: WindowRecord): void {
    const { decision } = record.assessment
    if (!decision.explores) decision.reason = 'servers-gone'
    this.conclude(record, decision.explores ? 'accepted' : 'offline')
  }

  /**
   * Nobody waits for the verdict any more, but the record and the policy may yet learn from it. What the device knows least
   * about is worth most. What was sent to learn from is not worth the wait: the next window will do as well.
   */
  private defer(record: WindowRecord, window: SourceWindow): void {
    const { model } = this.options
    const { local, valid, decision } = record.assessment
    if (decision.explores) return
    const value = valid ? 1 - local.confidence : 1
    record.deferred = true
    this.deliver(
      this.escalationAddress(record),
      () => {
        const { deadlineMs } = this.rules.settings
        return encodePayload('escalation', escalationOf(record, window, model, deadlineMs))
      },
      { value },
    )
    this.escalations.expectLate(record.id, record.point, record)
  }

  private escalate(record: WindowRecord, window: SourceWindow): void {
    const { model, publisher } = this.options
    const { deadlineMs } = this
    const address = this.escalationAddress(record)
    const payload = encodePayload(
      'escalation',
      escalationOf(record, window, model, deadlineMs, this.faults.has(record.machine)),
    )
    const size = sizeOf(address, payload.byteLength)
    record.escalationBytes = size.content
    if (!this.afford(record, size)) return
    this.counters.escalate()
    if (record.assessment.decision.reason === 'audit') this.audits++
    this.bytes.escalated += size.content
    this.options.trace?.({ id: record.id, point: record.point }, 'escalated')
    this.escalations.add(record.id, record.point, record, deadlineMs)
    publisher.publishRaw(address, payload).catch(() => this.escalations.abandon(record.id))
  }

  /**
   * Pays for an escalation; where the budget has no room, the local answer stands at once. One that was only to learn from
   * is accepted, as it would have been otherwise; any other is withheld.
   */
  private afford(record: WindowRecord, { content, packet }: EscalationSize): boolean {
    const { budget } = this.options
    const { decision } = record.assessment
    const purpose = decision.explores ? 'exploration' : 'escalation'
    if (budget.spend(purpose, packet)) return true
    decision.numbers = { ...decision.numbers, bytesNeeded: packet, bytesLeft: budget.leftFor(purpose) }
    decision.reason = decision.explores ? 'exploration-over-budget' : 'over-budget'
    this.bytes.avoided += content
    this.conclude(record, decision.explores ? 'accepted' : 'withheld')
    return false
  }

  private settled(record: WindowRecord, { outcome, verdict }: Settlement, afterMs: number): void {
    this.counters.settle(outcome)
    if (outcome === 'late') this.reach.late()
    else if (outcome !== 'offline') this.reach.answered()
    this.options.trace?.(
      { id: record.id, point: record.point, outcome, afterMs: Math.round(afterMs) },
      'escalation ended',
    )
    this.publish(record, inferenceOf(record, outcome, verdict))
    if (verdict) this.learn(record, verdict, afterMs)
  }

  private revised(record: WindowRecord, verdict: AnsweredVerdict, afterMs: number): void {
    this.revisions++
    this.reach.heard()
    this.publish(record, revisionOf(record, verdict))
    this.learn(record, verdict, afterMs)
  }

  private learn(record: WindowRecord, verdict: AnsweredVerdict, afterMs: number): void {
    if (!record.deferred) this.roundTrips.add(afterMs)
    this.options.answered(verdict.inferMs)
    this.options.audits.answered(record, verdict)
    const { assessment, context } = record
    // An invalid answer was not the policy's decision, and its confidence is no number to learn from.
    if (!assessment.valid || assessment.by) return
    const { local, decision } = assessment
    const { point } = record
    this.rules.policies.of(point).learn({ local, remote: verdict, ...context, token: decision.token, point })
  }

  private publish(record: WindowRecord, inference: Inference): void {
    this.faults.inferred(record.point, inference)
    this.reporting.get(record.point)?.report(inference)
    this.options.announce(inference, record)
  }

  private sinkFor(point: string): ReportSink {
    const { site, device } = this.options
    return {
      inference: (inference, notable) =>
        this.deliver({ kind: 'inference', site, device, point }, () => encodePayload('inference', inference), {
          notable,
        }),
      summary: summary =>
        this.deliver({ kind: 'summary', site, device, point }, () => encodePayload('summary', summary)),
    }
  }

  /** Never throws: it is called from timers too, and a window has ended whether or not anybody hears of it. */
  private deliver(address: TopicAddress, encode: () => Buffer, worth?: Pick<NewMessage, 'notable' | 'value'>): void {
    try {
      this.options.send(address, encode(), worth)
    } catch (thrown) {
      this.options.failed(thrown)
    }
  }

  private escalationAddress({ point }: { point: string }): Extract<TopicAddress, { kind: 'escalation' }> {
    const { site, device } = this.options
    return { kind: 'escalation', site, device, point }
  }

  /** What sending this window would take. One of each point is measured. */
  private sizeOf(point: AgentPoint, window: SourceWindow): EscalationSize {
    const known = this.sizes.get(point.point)
    if (known) return known
    const size = expectedSize(this.escalationAddress(point), point, window, this.options.model)
    this.sizes.set(point.point, size)
    return size
  }
}
