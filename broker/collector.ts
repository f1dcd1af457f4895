import { EventEmitter } from 'node:events'
import type { Aedes, AedesPublishPacket } from 'aedes'
import type { BrokerPersistence, Stamp } from './persistence/persistence.ts'
import type { Outgoing } from './persistence/queues.ts'

export interface CollectorOptions {
  aedes: Pick<Aedes, 'subscribe'>
  persistence: BrokerPersistence
}

interface CollectorEvents {
  /** Messages may have been stored that were not heard of: the other brokers of a cluster were out of reach. */
  missed: []
}

/**
 * Stored sessions that belong to no client: what comes for one is kept in the transaction that stores the message for all
 * others, before its publisher has an acknowledgement.
 */
export class Collector extends EventEmitter<CollectorEvents> {
  private readonly options: CollectorOptions

  constructor(options: CollectorOptions) {
    super()
    this.options = options
  }

  /** Keeps every message of QoS 1 and 2 under a filter in a session from here on, and calls back with each that comes. */
  async open(session: string, filter: string, arrived: (packet: AedesPublishPacket) => void): Promise<void> {
    const { aedes, persistence } = this.options
    const known = await persistence.subscriptionsByClient({ id: session })
    // Not written again: a disk that is full meanwhile is no reason to stop.
    if (!known.some(({ topic }) => topic === filter)) {
      await persistence.addSubscriptions({ id: session }, [{ topic: filter, qos: 1 }])
    }
    const listener = (packet: AedesPublishPacket, done: () => void) => {
      arrived(packet)
      done()
    }
    await new Promise<void>(resolve => aedes.subscribe(filter, listener, resolve))
  }

  /** What waits in a session, oldest first. */
  read(session: string): AsyncIterable<Outgoing> {
    return this.options.persistence.outgoingStream({ id: session })
  }

  async find(session: string, stamp: Stamp): Promise<Outgoing | undefined> {
    return this.options.persistence.findQueued(session, stamp)
  }

  async remove(session: string, stamp: Stamp): Promise<void> {
    await this.options.persistence.removeQueued(session, stamp)
  }
}
