import { type AnsweredVerdict, isRejected, type Verdict } from '@faultline/protocol'
import { IdleSignal } from '../spool/idle.ts'

/** How a window that was sent can end. */
export type Settlement =
  | { outcome: 'answered'; verdict: AnsweredVerdict }
  | { outcome: 'late' | 'rejected' | 'offline'; verdict?: undefined }

export interface EscalationHandlers<W> {
  /** Called exactly once for each window. */
  settled(window: W, settlement: Settlement, afterMs: number): void
  /** A verdict came after the deadline; called at most once for a window, and only after it was settled as late. */
  revised(window: W, verdict: AnsweredVerdict, afterMs: number): void
}

interface Pending<W> {
  window: W
  point: string
  sentAt: number
  timer?: NodeJS.Timeout
}

/** Late windows remembered for a revision: at ten a second and all of them late, more than a minute. */
const rememberedLate = 1_000

/**
 * Windows on their way to a server and back. Whatever arrives, in whatever order and however often, each window is settled
 * once: by the first of a verdict, a rejection and its deadline.
 */
export class Escalations<W> {
  private readonly handlers: EscalationHandlers<W>
  private readonly pending = new Map<string, Pending<W>>()
  private readonly late = new Map<string, Pending<W>>()
  private readonly idleSignal = new IdleSignal()

  constructor(handlers: EscalationHandlers<W>) {
    this.handlers = handlers
  }

  get size(): number {
    return this.pending.size
  }

  /** A window was sent; an answer counts until `deadlineMs` from now. */
  add(id: string, point: string, window: W, deadlineMs: number): void {
    const timer = setTimeout(() => this.settle(id, { outcome: 'late' }), deadlineMs)
    this.pending.set(id, { window, point, sentAt: performance.now(), timer })
  }

  /** Whether a window of this point was sent that has no verdict yet. */
  awaits(point: string, id: string): boolean {
    return (this.pending.get(id) ?? this.late.get(id))?.point === point
  }

  /** A verdict for a point. One for an unknown id, for another point, or a second one, changes nothing. */
  receive(point: string, verdict: Verdict): void {
    if (this.pending.get(verdict.id)?.point === point) {
      this.settle(verdict.id, isRejected(verdict) ? { outcome: 'rejected' } : { outcome: 'answered', verdict })
      return
    }
    const entry = this.late.get(verdict.id)
    if (entry?.point !== point || isRejected(verdict)) return
    this.late.delete(verdict.id)
    this.handlers.revised(entry.window, verdict, performance.now() - entry.sentAt)
  }

  /** A window that waits for a connection: its verdict, should one ever come, revises it. */
  expectLate(id: string, point: string, window: W): void {
    this.remember(id, { window, point, sentAt: performance.now() })
  }

  /** The window could not be sent after all. */
  abandon(id: string): void {
    if (this.pending.has(id)) this.settle(id, { outcome: 'offline' })
  }

  /** Settles everything that is left: nobody will wait for it. */
  abandonAll(): void {
    for (const id of [...this.pending.keys()]) this.abandon(id)
    this.late.clear()
  }

  /** Resolves when nothing is pending, or after so long. */
  async idle(timeoutMs: number): Promise<void> {
    if (this.pending.size > 0) await this.idleSignal.wait(timeoutMs)
  }

  private settle(id: string, settlement: Settlement): void {
    const entry = this.pending.get(id)!
    clearTimeout(entry.timer)
    this.pending.delete(id)
    if (settlement.outcome === 'late') this.remember(id, entry)
    this.handlers.settled(entry.window, settlement, performance.now() - entry.sentAt)
    if (this.pending.size === 0) this.idleSignal.notify()
  }

  private remember(id: string, entry: Pending<W>): void {
    if (this.late.size >= rememberedLate) this.late.delete(this.late.keys().next().value!)
    this.late.set(id, entry)
  }
}
