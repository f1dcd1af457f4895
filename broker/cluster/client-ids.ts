import type { Client } from 'aedes'
import { Refusal, socketOf } from '../authentication.ts'
import type { Membership } from './membership.ts'
import { prefix, type RedisLink } from './redis.ts'

/** How long another broker may take to end a client's connection and publish its will. */
const releaseMs = 5_000
/** Aedes says nothing of a client that ends before it is fully connected. */
const silentMs = 1_000

/** A connection that was open until a client came to another broker with its client id. */
export interface EndedConnection {
  address?: string | undefined
}

interface Held {
  client: Client | undefined
  holder: string
  gone: Promise<void>
  end(): void
}

export interface ClientIdsOptions {
  link: RedisLink
  membership: Membership
  /** Publishes the will of a client whose broker has died, if it had one. */
  publishWill(clientId: string, brokerId: string): Promise<void>
}

/**
 * Sees to it that a client id has one connection among all brokers (MQTT 3.1.1, 3.1.4-2). The broker that had it ends its
 * connection and publishes its will first: a will that came late would say of a client that is back that it is gone.
 */
export class ClientIds {
  private readonly options: ClientIdsOptions
  private readonly held = new Map<string, Held>()
  private readonly released = new Map<string, (ended: EndedConnection | undefined) => void>()
  private id = ''

  constructor(options: ClientIdsOptions) {
    this.options = options
  }

  start(id: string): void {
    this.id = id
  }

  /** Resolves with the connection to another broker that was ended for it, if there was one. Throws a `Refusal`. */
  async take(client: Client, name: string): Promise<EndedConnection | undefined> {
    const { link, membership } = this.options
    const mine = `${this.id} ${name}`
    let expected = ''
    let ended: EndedConnection | undefined
    for (let attempt = 0; attempt < 5; attempt++) {
      const holder = (await link.run('take', client.id, expected, mine)) as string | null
      if (holder === null) {
        this.hold(client, mine)
        return ended
      }
      const [broker, user] = partsOf(holder)
      if (!(await membership.isAlive(broker))) expected = holder
      else if (user !== name) throw new Refusal(5, `the client id is in use by ${user}`)
      else ended = (await this.askFor(client.id, broker)) ?? ended
    }
    throw new Refusal(3, 'the client id is not let go of')
  }

  /** Aedes has ended a client, and its will is on its way. */
  departed(client: Client): void {
    const held = this.held.get(client.id)
    if (held?.client === client) this.drop(client.id, held)
  }

  /** Another broker wants a client id. */
  async release(clientId: string, to: string): Promise<void> {
    const held = this.held.get(clientId)
    const client = held?.client
    const ended = client && !client.closed ? { address: socketOf(client).remoteAddress } : undefined
    client?.conn.destroy()
    await held?.gone
    if (!held) {
      // Left over from a connection that came to nothing.
      const holder = await this.options.link.db.hget(`${prefix}holders`, clientId)
      if (holder && partsOf(holder)[0] === this.id) await this.options.link.run('drop', clientId, holder)
    }
    await this.options.membership.say(to, { kind: 'released', client: clientId, ended })
  }

  /** Another broker has let go of a client id. */
  wasReleased(clientId: string, ended: EndedConnection | undefined): void {
    this.released.get(clientId)?.(ended)
  }

  /** Publishes the wills of the clients of a broker that has died, as if they were clients of this one for that long. */
  async adopt(brokerId: string): Promise<void> {
    const { link, publishWill } = this.options
    const holders = Object.entries(await link.db.hgetall(`${prefix}holders`))
    const orphans = holders.filter(([, holder]) => partsOf(holder)[0] === brokerId)
    const adopt = async ([clientId, holder]: [string, string]) => {
      const mine = `${this.id} ${partsOf(holder)[1]}`
      if (this.held.has(clientId) || (await link.run('take', clientId, holder, mine)) !== null) return
      const held = this.note(clientId, undefined, mine)
      await publishWill(clientId, brokerId).finally(() => this.drop(clientId, held))
    }
    await Promise.all(orphans.map(adopt))
  }

  /** Ids that have a connection to any broker. */
  async connected(): Promise<Set<string>> {
    return new Set(await this.options.link.db.hkeys(`${prefix}holders`))
  }

  private hold(client: Client, mine: string): void {
    if (client.closed) {
      this.options.link.run('drop', client.id, mine).catch(() => {}) // Taken from it by the next who wants it.
      throw new Refusal(5, 'the connection ended')
    }
    this.note(client.id, client, mine)
    client.conn.once('close', () => {
      setTimeout(() => this.departed(client), silentMs).unref()
    })
  }

  private note(clientId: string, client: Client | undefined, holder: string): Held {
    this.held.get(clientId)?.end()
    let end = () => {}
    const gone = new Promise<void>(resolve => {
      end = resolve
    })
    const held = { client, holder, gone, end }
    this.held.set(clientId, held)
    return held
  }

  private drop(clientId: string, held: Held): void {
    // Another connection may have come to this broker meanwhile.
    if (this.held.get(clientId) !== held) return
    this.held.delete(clientId)
    // After the will, which went over the same connection to Redis.
    this.options.link.run('drop', clientId, held.holder).then(held.end, held.end)
  }

  private async askFor(clientId: string, broker: string): Promise<EndedConnection | undefined> {
    const released = new Promise<EndedConnection | undefined>(resolve => {
      const timer = setTimeout(() => resolve(undefined), releaseMs)
      this.released.set(clientId, ended => {
        clearTimeout(timer)
        resolve(ended)
      })
    })
    await this.options.membership.say(broker, { kind: 'release', client: clientId, from: this.id })
    const ended = await released
    this.released.delete(clientId)
    return ended
  }
}

function partsOf(holder: string): [broker: string, user: string] {
  const space = holder.indexOf(' ')
  return [holder.slice(0, space), holder.slice(space + 1)]
}
