import type { Logger } from '@faultline/runtime'
import type { BrokerCounts, DropReason } from './counts.ts'

/** How long a reason that has a line in the log gets no other. */
const quietMs = 60_000

export interface DropLogOptions {
  counts: Pick<BrokerCounts, 'dropped'>
  logger: Logger
}

/** Counts messages that are dropped, by reason. The log has one line for each reason, and another a minute later should it go on. */
export class DropLog {
  private readonly options: DropLogOptions
  private readonly loggedAt = new Map<DropReason, number>()

  constructor(options: DropLogOptions) {
    this.options = options
  }

  /** `session` is the client id or the shared filter the messages were for. */
  add(session: string, reason: DropReason, messages: number): void {
    const { counts, logger } = this.options
    counts.dropped[reason] += messages
    const now = performance.now()
    if (now - (this.loggedAt.get(reason) ?? Number.NEGATIVE_INFINITY) < quietMs) return
    this.loggedAt.set(reason, now)
    logger.warn({ session, reason, messages, total: counts.dropped[reason] }, 'messages dropped')
  }
}
