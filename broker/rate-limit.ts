export interface RateLimits {
  /** PUBLISH packets, and bytes of all packets, that one client may send in a second. */
  messagesPerSecond: number
  bytesPerSecond: number
  /** How long a client may be held back without a pause before it is disconnected, in ms. */
  heldBackMs: number
}

/** A second's worth may come at once. */
const burstS = 1

/** How fast one client may send: a token bucket for messages and one for bytes, which may run into debt. */
export class RateLimit {
  private readonly limits: RateLimits
  private messages: number
  private bytes: number
  private at = performance.now()
  private heldBackSince: number | undefined

  constructor(limits: RateLimits) {
    this.limits = limits
    this.messages = limits.messagesPerSecond * burstS
    this.bytes = limits.bytesPerSecond * burstS
  }

  /** Counts what was read. */
  took(messages: number, bytes: number): void {
    this.refill()
    this.messages -= messages
    this.bytes -= bytes
  }

  /** How long to leave the rest unread, in ms: 0 while there is credit. */
  waitMs(): number {
    this.refill()
    const { messagesPerSecond, bytesPerSecond } = this.limits
    const missing = Math.max(-this.messages / messagesPerSecond, -this.bytes / bytesPerSecond)
    if (missing > 0) {
      this.heldBackSince ??= performance.now()
      return Math.ceil(missing * 1_000)
    }
    // It has paused once all that it may send at once is there again.
    if (this.messages >= (messagesPerSecond * burstS) / 2 && this.bytes >= (bytesPerSecond * burstS) / 2) {
      this.heldBackSince = undefined
    }
    return 0
  }

  /** How long holding back may still go on without a pause, in ms; 0 when it has not helped. */
  get graceMs(): number {
    const { heldBackMs } = this.limits
    if (this.heldBackSince === undefined) return heldBackMs
    return Math.max(0, this.heldBackSince + heldBackMs - performance.now())
  }

  private refill(): void {
    const now = performance.now()
    const seconds = (now - this.at) / 1_000
    this.at = now
    const { messagesPerSecond, bytesPerSecond } = this.limits
    this.messages = Math.min(messagesPerSecond * burstS, this.messages + seconds * messagesPerSecond)
    this.bytes = Math.min(bytesPerSecond * burstS, this.bytes + seconds * bytesPerSecond)
  }
}
