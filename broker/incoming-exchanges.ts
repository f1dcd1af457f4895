import type { Client } from 'aedes'
import type { BrokerPersistence } from './persistence/persistence.ts'

type Go = () => void

/**
 * The messages of QoS 2 that are being taken, by client and packet identifier. One that comes again before the first is
 * stored waits for that: Aedes looks into the store for it, finds it and acknowledges it (MQTT 3.1.1, 4.3.3), where it would
 * take it for another message.
 */
export class IncomingExchanges {
  private readonly open = new WeakMap<object, Map<number, Go[]>>()

  /** Hears from the persistence when a message was stored, or found there. */
  constructor(persistence: Pick<BrokerPersistence, 'incomingStorePacket' | 'incomingGetPacket'>) {
    const store = persistence.incomingStorePacket.bind(persistence)
    const get = persistence.incomingGetPacket.bind(persistence)
    persistence.incomingStorePacket = async (client, packet) => {
      try {
        await store(client, packet)
      } finally {
        this.leave(client, packet.messageId!)
      }
    }
    persistence.incomingGetPacket = async (client, packet) => {
      const found = await get(client, packet)
      this.leave(client, packet.messageId)
      return found
    }
  }

  /** Calls back when no other message of this identifier is on its way into the store. */
  enter(client: Client, messageId: number, go: Go): void {
    let exchanges = this.open.get(client)
    if (!exchanges) {
      exchanges = new Map()
      this.open.set(client, exchanges)
    }
    const waiting = exchanges.get(messageId)
    if (waiting) waiting.push(go)
    else {
      exchanges.set(messageId, [])
      go()
    }
  }

  private leave(client: object, messageId: number): void {
    const exchanges = this.open.get(client)
    const next = exchanges?.get(messageId)?.shift()
    if (next) next()
    else exchanges?.delete(messageId)
  }
}
