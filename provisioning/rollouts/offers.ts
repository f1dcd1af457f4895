import { parseIdentity, type TopicAddress, toFaultlineError } from '@faultline/protocol'
import type { Logger, MqttSession } from '@faultline/runtime'
import { canBeWithdrawn } from './states.ts'
import type { Rollout, RolloutStore } from './store.ts'

type OfferAddress = Extract<TopicAddress, { kind: 'update-offer' }>

/** Where a device, by the name of its identity, finds its offer. */
function offerAddress(name: string): OfferAddress {
  const { site, id } = parseIdentity(name)
  return { kind: 'update-offer', site: site!, device: id }
}

/** What a rollout offers to devices, retained at the broker until it is withdrawn. */
export class Offers {
  private readonly session: MqttSession
  private readonly rollout: Rollout
  private readonly logger: Logger

  constructor(session: MqttSession, rollout: Rollout, logger: Logger) {
    this.session = session
    this.rollout = rollout
    this.logger = logger
  }

  make(name: string): void {
    const { artifact, id, terms } = this.rollout
    const offer = { ...artifact, id, probation: terms.probation }
    this.session.publish(offerAddress(name), offer).catch(this.unsent)
  }

  withdraw(name: string): void {
    this.clear(name).catch(this.unsent)
  }

  /**
   * Withdraws all offers of a rollout that has ended; until then they show whom it is for. Resolves once the broker has
   * acknowledged that. A device that is past the download goes on: it has everything.
   */
  async withdrawAll(store: RolloutStore): Promise<void> {
    const devices = store.devices(this.rollout.id)
    for (const { name, state } of devices) if (canBeWithdrawn(state)) store.note(this.rollout.id, name, 'withdrawn')
    const offered = devices.filter(({ offeredAt }) => offeredAt !== undefined)
    await Promise.all(offered.map(({ name }) => this.clear(name)))
  }

  private clear(name: string): Promise<void> {
    return this.session.publishRaw(offerAddress(name), Buffer.alloc(0))
  }

  private readonly unsent = (thrown: unknown): void => {
    this.logger.warn({ error: toFaultlineError(thrown).message }, 'publishing an offer failed')
  }
}
