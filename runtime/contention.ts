import { FaultlineError } from '@faultline/protocol'

export interface ContentionOptions {
  /** Name of the identity, for the message. */
  identity: string
  /** A connection that the broker ends sooner was cut short; in ms. */
  shortMs: number
  /** A connection that lasts so long shows that no other client uses the identity any more; in ms. */
  calmMs: number
  /** A connection has lasted longer than `shortMs`. */
  lasting: () => void
  /** Another client was found, or is gone: then without an error. */
  changed: (error: FaultlineError | undefined) => void
}

/** Connections cut short in a row that show another client: one or two happen while a broker restarts. */
const minCutShort = 5

/**
 * Notices another client that uses the same identity. A broker ends the connection of a client when another one connects with
 * its name (MQTT 3.1.1, 3.1.4-2), and gives no reason: what shows is that connections end again and again soon after they began.
 */
export class Contention {
  private readonly options: ContentionOptions
  private readonly timers: NodeJS.Timeout[] = []
  private connection: 'none' | 'short' | 'lasting' = 'none'
  private cutShort = 0
  private found: { error: FaultlineError; since: string } | undefined

  constructor(options: ContentionOptions) {
    this.options = options
  }

  /** Connections cut short in a row. */
  get count(): number {
    return this.cutShort
  }

  /** `IDENTITY_CONTESTED` and since when; undefined where there is no other client. */
  get problem(): { error: FaultlineError; since: string } | undefined {
    return this.found
  }

  /** The broker has accepted a connection. */
  begin(): void {
    const { shortMs, calmMs, lasting } = this.options
    this.leave()
    this.connection = 'short'
    const lasted = setTimeout(() => {
      this.connection = 'lasting'
      this.cutShort = 0
      lasting()
    }, shortMs)
    this.timers.push(lasted.unref(), setTimeout(() => this.find(undefined), calmMs).unref())
  }

  /** This side ends the connection, or the network does: the end says nothing of other clients. */
  leave(): void {
    for (const timer of this.timers.splice(0)) clearTimeout(timer)
    this.connection = 'none'
  }

  /** The connection has ended. */
  ended(): void {
    const wasShort = this.connection === 'short'
    this.leave()
    if (!wasShort) return
    this.cutShort++
    if (this.cutShort < minCutShort || this.found) return
    const message = `another client uses this identity (${this.options.identity}): the broker ended ${this.cutShort} connections in a row soon after they began`
    this.find(new FaultlineError('IDENTITY_CONTESTED', message))
  }

  private find(error: FaultlineError | undefined): void {
    if (error === this.found?.error) return
    this.found = error && { error, since: new Date().toISOString() }
    this.options.changed(error)
  }
}
