import type { Aedes, AedesPublishPacket } from 'aedes'

/** Far more than are on their way at a time. */
const maximumRemembered = 10_000

/** Numbers messages as Aedes would, before it does, and remembers which of them are stored while Aedes thinks they have to be. */
export class Stamps {
  private aedes: Pick<Aedes, 'id'> & { counter: number } = { id: '', counter: 0 }
  private readonly durable = new Set<number>()

  get broker(): Pick<Aedes, 'id'> {
    return this.aedes
  }

  setup(aedes: Pick<Aedes, 'id'> & { counter: number }): void {
    this.aedes = aedes
  }

  stamp(packet: AedesPublishPacket): void {
    packet.brokerId = this.aedes.id
    packet.brokerCounter = ++this.aedes.counter
  }

  remember({ brokerCounter }: AedesPublishPacket): void {
    this.durable.add(brokerCounter!)
    // Of a publisher whose connection breaks at that moment Aedes asks no more.
    if (this.durable.size > maximumRemembered) this.durable.delete(this.durable.values().next().value!)
  }

  forget({ brokerCounter }: AedesPublishPacket): void {
    this.durable.delete(brokerCounter!)
  }

  isStored({ brokerId, brokerCounter }: AedesPublishPacket): boolean {
    return brokerId === this.aedes.id && this.durable.has(brokerCounter ?? 0)
  }
}
