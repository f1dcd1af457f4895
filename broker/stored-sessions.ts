import type { Logger } from '@faultline/runtime'
import { isBridge } from './bridge-queue.ts'

/** Whether a session is a broker's own, of a group or a bridge: no client has such an id. */
export const isInternal = (session: string): boolean => session.startsWith('$')

type Connected = Pick<ReadonlySet<string>, 'has'>

export interface StoredSessionsOptions {
  absentMs: number
  persistence: {
    sessions(): Iterable<string> | Promise<Iterable<string>>
    end(id: string): void | Promise<void>
    expireQueued(): void | Promise<void>
  }
  /** The sessions that have their client now. */
  connected(): Connected | Promise<Connected>
  ended(): void
  logger: Logger
}

/** Ends stored sessions (MQTT 3.1.1, 3.1.2.4) whose clients stay away or are no more. */
export class StoredSessions {
  private readonly options: StoredSessionsOptions
  /** Since when the client of a session is known to be away, in ms of `performance.now()`. */
  private readonly absentSince = new Map<string, number>()
  /** While sessions of revoked identities may remain. */
  private isRevoked: ((name: string) => boolean) | undefined
  private timer: NodeJS.Timeout | undefined

  constructor(options: StoredSessionsOptions) {
    this.options = options
  }

  start(): void {
    this.timer = setInterval(
      () => {
        this.look().catch(error =>
          this.options.logger.error({ error: error.message }, 'looking at stored sessions failed'),
        )
      },
      Math.min(this.options.absentMs / 4, 60_000),
    )
    this.timer.unref()
  }

  stop(): void {
    clearInterval(this.timer)
  }

  /** Ends the sessions of identities that are no more, with their clients or without. What fails is done at the next look. */
  async endRevoked(isRevoked: (name: string) => boolean): Promise<void> {
    this.isRevoked = isRevoked
    for (const id of await this.ids()) {
      const owner = ownerOf(id)
      if (owner !== undefined && isRevoked(owner)) await this.end(id, 'its identity was revoked')
    }
    this.isRevoked = undefined
  }

  /** Ends what a broker kept for bridges that it has no more. */
  async endBridges(besides: string | undefined): Promise<void> {
    for (const id of await this.options.persistence.sessions()) {
      if (isBridge(id) && id !== besides) await this.end(id, 'the broker has this bridge no more')
    }
  }

  /** How many an identity has, besides the one of that id. */
  async countOf(name: string, besides: string): Promise<number> {
    return (await this.ids()).filter(id => id !== besides && ownerOf(id) === name).length
  }

  /** How many there are, and how many of them have no client now. */
  async count(): Promise<{ stored: number; sleeping: number }> {
    const [ids, connected] = await Promise.all([this.ids(), this.options.connected()])
    return { stored: ids.length, sleeping: ids.filter(id => !connected.has(id)).length }
  }

  private async look(): Promise<void> {
    const now = performance.now()
    const { persistence, absentMs, logger } = this.options
    try {
      if (this.isRevoked) await this.endRevoked(this.isRevoked)
      await persistence.expireQueued()
      const [ids, connected] = await Promise.all([this.ids(), this.options.connected()])
      for (const id of this.absentSince.keys()) if (!ids.includes(id)) this.absentSince.delete(id)
      for (const id of ids) {
        const since = this.absentSince.get(id) ?? now
        if (connected.has(id)) this.absentSince.delete(id)
        else if (now - since >= absentMs) await this.end(id, 'its client stayed away')
        else this.absentSince.set(id, since)
      }
    } catch (thrown) {
      logger.error({ error: (thrown as Error).message }, 'stored sessions are not looked at')
    }
  }

  private async ids(): Promise<string[]> {
    return [...(await this.options.persistence.sessions())].filter(id => !isInternal(id))
  }

  private async end(id: string, reason: string): Promise<void> {
    const { persistence, ended, logger } = this.options
    this.absentSince.delete(id)
    try {
      await persistence.end(id)
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
