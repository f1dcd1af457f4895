import type { Logger } from '@faultline/runtime'

/** How long a client id is not spoken of again, in ms. */
const quietMs = 60_000
const maxRemembered = 10_000

export interface Takeover {
  clientId: string
  user: string
  /** Where the new connection comes from, and the one that it ends. */
  address: string | undefined
  formerAddress: string | undefined
}

/**
 * Logs that a connection took the place of another with the same client id (MQTT 3.1.1, 3.1.4-2): the first at once, then
 * one line a minute, as two clients with one identity end each other's connection over and over.
 */
export class Takeovers {
  private readonly logger: Logger
  private readonly noted = new Map<string, { at: number; since: number }>()

  constructor(logger: Logger) {
    this.logger = logger
  }

  note(takeover: Takeover): void {
    const now = performance.now()
    const last = this.noted.get(takeover.clientId)
    if (last && now - last.at < quietMs) {
      last.since++
      return
    }
    if (this.noted.size >= maxRemembered) this.noted.clear()
    this.noted.set(takeover.clientId, { at: now, since: 0 })
    this.logger.warn(
      { ...takeover, more: last?.since ?? 0 },
      'a connection took the place of another with the same client id; does a second client use this identity?',
    )
  }
}
