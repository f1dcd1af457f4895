import type { Redis } from 'ioredis'
import MqemitterRedis from 'mqemitter-redis'
import type { RedisLink } from './redis.ts'

interface Message {
  topic: string
}
type Done = (error?: Error) => void

interface Emitter {
  state: { on(event: 'error', listener: (error: Error) => void): void }
  emit(message: Message, done: Done): void
  /** To listeners of this broker alone. */
  _emit(message: Message, done: Done): void
  close(done: Done): void
  _close(done: Done): void
}

const Base = MqemitterRedis as unknown as new (options: object) => Emitter

/** How Aedes learns which other brokers are alive; the only things they say of themselves that others need. */
const shared = /^\$SYS\/[^/]+\/(heartbeat|birth)$/

/** What brokers publish to each other, over Redis. What one says of itself is said to its own clients. */
export class ClusterEmitter extends Base {
  private readonly link: RedisLink

  constructor(link: RedisLink, reconnected: () => void) {
    const subConn = link.connection()
    super({ subConn, pubConn: link.connection(), matchEmptyLevels: true })
    this.link = link
    this.state.on('error', () => {}) // The link reports them.
    for (const event of ['messageBuffer', 'pmessageBuffer']) passOverUnreadable(subConn, event)
    let before = false
    subConn.on('ready', () => {
      if (before) reconnected()
      before = true
    })
  }

  override emit(message: Message, done: Done): void {
    if (message.topic.startsWith('$SYS/') && !shared.test(message.topic)) this._emit(message, done)
    else super.emit(message, done)
  }

  override close(done: Done): void {
    // It would wait for the answer of a Redis that gives none.
    if (this.link.trouble === undefined) super.close(done)
    else this._close(done)
  }
}

/** Others may have access to the same Redis: what is no message of a broker does not end the process. */
function passOverUnreadable(connection: Redis, event: string): void {
  for (const listener of connection.listeners(event)) {
    connection.off(event, listener as () => void)
    connection.on(event, (...published: unknown[]) => {
      try {
        listener(...published)
      } catch {
        // Not of ours.
      }
    })
  }
}
