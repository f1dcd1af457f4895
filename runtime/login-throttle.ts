interface Bucket {
  /** Failures that are still allowed. */
  left: number
  /** When `left` was right, in ms of `performance.now()`. */
  at: number
}

const minuteMs = 60_000
/** Addresses remembered; beyond it those that have recovered are forgotten, and then the oldest. */
const maximumAddresses = 10_000

/**
 * Bounds how fast one address may be wrong about who it is: so many failures at once, and as many again in a minute.
 * Attempts count when they have failed, not before: a whole plant may come back at once from behind one address.
 */
export class LoginThrottle {
  private readonly perMinute: number
  private readonly buckets = new Map<string, Bucket>()

  constructor(perMinute: number) {
    this.perMinute = perMinute
  }

  /** Whether the address has had its failures for now. */
  isExhausted(address: string): boolean {
    const bucket = this.buckets.get(address)
    return bucket !== undefined && this.leftAt(bucket, performance.now()) < 1
  }

  failed(address: string): void {
    const bucket = this.bucketOf(address)
    bucket.left = Math.max(0, bucket.left - 1)
  }

  private bucketOf(address: string): Bucket {
    const now = performance.now()
    let bucket = this.buckets.get(address)
    if (bucket) {
      bucket.left = this.leftAt(bucket, now)
      bucket.at = now
      return bucket
    }
    if (this.buckets.size >= maximumAddresses) this.forget(now)
    bucket = { left: this.perMinute, at: now }
    this.buckets.set(address, bucket)
    return bucket
  }

  private leftAt({ left, at }: Bucket, now: number): number {
    return Math.min(this.perMinute, left + ((now - at) / minuteMs) * this.perMinute)
  }

  private forget(now: number): void {
    for (const [address, bucket] of this.buckets) {
      if (this.leftAt(bucket, now) >= this.perMinute) this.buckets.delete(address)
    }
    while (this.buckets.size >= maximumAddresses) this.buckets.delete(this.buckets.keys().next().value!)
  }
}
