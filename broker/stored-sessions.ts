import type { Logger } from '@faultline/runtime'
import { isGroup } from './shared-subscriptions.ts'

export interface StoredSessionsOptions {
  absentMs: number
  persistence: { sessions(): Iterable<string>; end(id: string): void; expireQueued(): void }
  /** Whether a session has its client now. */
  isConnected(clientId: string): boolean
  ended(): void
  logger: Logger
}

/** Ends stored sessions (MQTT 3.1.1, 3.1.2.4) whose clients stay away or are no more. */
export class StoredSessions {
  private readonly options: StoredSessionsOptions
  /** Since when the client of a session is known to be away, in ms of `performance.now()`. */
  private readonly absentSince = new Map<string, number>()
  private timer: NodeJS.Timeout | undefined

  constructor(options: StoredSessionsOptions) {
    this.options = options
  }

  start(): void {
    this.timer = setInterval(() => this.look(), Math.min(this.options.absentMs / 4, 60_000))
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Ends the sessions of identities that are no more, with their clients or without. */
  endRevoked(isRevoked: (name: string) => boolean): void {
    for (const id of this.ids()) {
      const owner = ownerOf(id)
      if (owner !== undefined && isRevoked(owner)) this.end(id, 'its identity was revoked')
    }
  }

  /** How many an identity has, besides the one of that id. */
  countOf(name: string, besides: string): number {
    return this.ids().filter(id => id !== besides && ownerOf(id) === name).length
  }

  /** How many there are, and how many of them have no client now. */
  count(): { stored: number; sleeping: number } {
    const ids = this.ids()
    return { stored: ids.length, sleeping: ids.filter(id => !this.options.isConnected(id)).length }
  }

  private look(): void {
    const now = performance.now()
    const { persistence, isConnected, absentMs } = this.options
    persistence.expireQueued()
    const ids = this.ids()
    for (const id of this.absentSince.keys()) if (!ids.includes(id)) this.absentSince.delete(id)
    for (const id of ids) {
      const since = this.absentSince.get(id) ?? now
      if (isConnected(id)) this.absentSince.delete(id)
      else if (now - since >= absentMs) this.end(id, 'its client stayed away')
      else this.absentSince.set(id, since)
    }
  }

  private ids(): string[] {
    return [...this.options.persistence.sessions()].filter(id => !isGroup(id))
  }

  private end(id: string, reason: string): void {
    const { persistence, ended, logger } = this.options
    this.absentSince.delete(id)
    try {
      persistence.end(id)
    } catch (thrown) {
      logger.error({ clientId: id, error: (thrown as Error).message }, 'a stored session remains')
      return
    }
    ended()
    logger.info({ clientId: id, reason }, 'a stored session ended')
  }
}

/** The identity a stored session belongs to: its client id is that name, or for an operator's tool one below it. */
export function ownerOf(clientId: string): string | undefined {
  const [stem, first, second] = clientId.split('/')
  if (first === undefined) return undefined
  return stem === 'devices' && second !== undefined ? `${stem}/${first}/${second}` : `${stem}/${first}`
}
