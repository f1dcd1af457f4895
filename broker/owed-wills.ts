import type { PublishPacket } from 'aedes'
import type { BrokerPersistence } from './persistence/persistence.ts'

/** Wills that may be owed. */
const maxOwed = 100_000

export interface OwedWillsOptions {
  persistence: Pick<BrokerPersistence, 'putWill' | 'delWill'>
  /** Rejects when the store refuses it again. */
  publish(will: PublishPacket): Promise<void>
  /** Whether a will may be stored later after such an error. */
  mayPass(error: Error): boolean
  /** A will is not published at all. */
  dropped(clientId: string): void
}

interface Owed {
  will: PublishPacket
  /** Whether the store has this will and no later one of its client. */
  isStored: boolean
}

/**
 * The wills that a store refused when they were due, the latest of each client. They are published when it takes changes
 * again; until then they stay in the store, for the next broker to publish should this one end before.
 */
export class OwedWills {
  private readonly options: OwedWillsOptions
  private readonly owed = new Map<string, Owed>()
  private readonly remove: BrokerPersistence['delWill']

  constructor(options: OwedWillsOptions) {
    this.options = options
    const { persistence } = options
    const put = persistence.putWill.bind(persistence)
    this.remove = persistence.delWill.bind(persistence)
    persistence.putWill = async (client, will) => {
      const owed = this.owed.get(client.id)
      if (owed) owed.isStored = false
      await put(client, will)
    }
    persistence.delWill = async client => (this.owed.get(client.id)?.isStored ? undefined : this.remove(client))
  }

  /** Takes a will that came to nothing, for later if that may help. */
  add(clientId: string, will: PublishPacket, error: Error): void {
    const { mayPass, dropped } = this.options
    const isLost = !mayPass(error) || this.owed.size >= maxOwed
    if (isLost || this.owed.has(clientId)) dropped(clientId)
    if (!isLost) this.owed.set(clientId, { will, isStored: true })
  }

  /** Publishes what is owed, in the order in which it was due. Never rejects: what the store refuses again stays owed. */
  async publish(): Promise<void> {
    const publishing = [...this.owed].map(async ([id, owed]) => {
      await this.options.publish(owed.will)
      if (this.owed.get(id) !== owed) return
      this.owed.delete(id)
      if (owed.isStored) await this.remove({ id })
    })
    await Promise.allSettled(publishing)
  }
}
