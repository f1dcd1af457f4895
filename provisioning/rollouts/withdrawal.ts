import { parseIdentity, type TopicAddress } from '@faultline/protocol'
import { canBeWithdrawn } from './states.ts'
import type { RolloutStore } from './store.ts'

export type OfferAddress = Extract<TopicAddress, { kind: 'update-offer' }>

/** Where a device, by the name of its identity, finds its offer. */
export function offerAddress(name: string): OfferAddress {
  const { site, id } = parseIdentity(name)
  return { kind: 'update-offer', site: site!, device: id }
}

/**
 * Takes back what a rollout offered, once it has ended; until then whoever listens sees whom it is for. Who is past the
 * download goes on: it is on the device.
 */
export function withdrawOffers(id: string, store: RolloutStore, clear: (address: OfferAddress) => void): void {
  for (const { name, state, offeredAt } of store.devices(id)) {
    if (offeredAt !== undefined) clear(offerAddress(name))
    if (canBeWithdrawn(state)) store.note(id, name, 'withdrawn')
  }
}
