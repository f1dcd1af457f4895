import type { Logger } from '@faultline/runtime'
import type { Aedes, Client } from 'aedes'
import type { BrokerLimits } from '../limits.ts'
import type { PersistenceOptions } from '../persistence/persistence.ts'
import { RedisPersistence } from '../persistence/redis.ts'
import type { GroupDropped } from '../shared-subscriptions.ts'
import { ClientIds, type EndedConnection } from './client-ids.ts'
import { ClusterEmitter } from './emitter.ts'
import { type ClusterMessage, Membership } from './membership.ts'
import { RedisLink } from './redis.ts'
import { ClusterShares } from './shared-subscriptions.ts'

export interface ClusterNodeOptions {
  /** Of the Redis that the brokers share. */
  url: string
  limits: BrokerLimits
  persistence: PersistenceOptions
  dropped: GroupDropped
  /** A command failed. */
  failed(): void
  /** What others sent may not have come: clients have to come back for it. */
  lost(): void
  logger: Logger
}

/** One broker among several that share a Redis: what it needs in place of what a broker alone has in its process. */
export class ClusterNode {
  readonly persistence: RedisPersistence
  readonly emitter: ClusterEmitter
  private readonly options: ClusterNodeOptions
  private readonly link: RedisLink
  private readonly membership: Membership
  private parts: { aedes: Aedes; shares: ClusterShares; clientIds: ClientIds } | undefined

  constructor(options: ClusterNodeOptions) {
    this.options = options
    const { url, limits, logger, lost, failed } = options
    this.link = new RedisLink({ url, failed, logger })
    const { sharedInFlight } = limits
    this.persistence = new RedisPersistence({ ...options.persistence, link: this.link, sharedInFlight, logger })
    this.emitter = new ClusterEmitter(this.link, lost)
    this.membership = new Membership({
      link: this.link,
      heard: message => {
        this.hear(message).catch(error => logger.debug({ error: error.message }, 'cluster message handler failed'))
      },
      look: async () => this.parts?.shares.look(),
      died: id => this.bury(id),
      lost,
      logger,
    })
  }

  /** Shared subscriptions over all brokers; to be asked for once, with the Aedes of this one. */
  join(aedes: Aedes): ClusterShares {
    const { link, membership, persistence } = this
    const { limits, dropped } = this.options
    const shares = new ClusterShares({ link, membership, persistence, aedes, limits, dropped })
    const clientIds = new ClientIds({ link, membership, publishWill: (...of) => this.publishWill(...of) })
    aedes.on('clientDisconnect', client => clientIds.departed(client))
    this.parts = { aedes, shares, clientIds }
    return shares
  }

  /** Ids of the brokers that live, as far as is known. */
  get brokers(): readonly string[] {
    return this.membership.others
  }

  /** Why Redis cannot be relied on now; undefined while it can. */
  get trouble(): string | undefined {
    return this.link.trouble
  }

  async start(): Promise<void> {
    const { aedes, clientIds } = this.parts!
    clientIds.start(aedes.id)
    await this.membership.start(aedes.id)
  }

  async stop(): Promise<void> {
    await this.membership.stop()
  }

  /** Ends what waits for an answer of Redis. */
  abandonRedis(): void {
    this.options.logger.warn({ error: this.link.trouble }, 'stopping without Redis')
    this.link.stop()
  }

  /** Resolves with the connection to another broker that was ended for it, if there was one. Throws a `Refusal`. */
  takeClientId(client: Client, name: string): Promise<EndedConnection | undefined> {
    return this.parts!.clientIds.take(client, name)
  }

  connected(): Promise<Set<string>> {
    return this.parts!.clientIds.connected()
  }

  private async hear(message: ClusterMessage): Promise<void> {
    const { shares, clientIds } = this.parts!
    if (message.kind === 'given') await shares.given(message.group, message.client, message.stamp)
    else if (message.kind === 'release') await clientIds.release(message.client, message.from)
    else if (message.kind === 'released') clientIds.wasReleased(message.client, message.ended)
    else shares.passed(message.group, message.client, message.topic, Buffer.from(message.payload, 'base64'))
  }

  private async bury(id: string): Promise<void> {
    const { limits, logger } = this.options
    logger.warn({ broker: id }, 'another broker has died')
    await this.link.run('bury', id, limits.sharedInFlight)
    await this.parts!.clientIds.adopt(id)
  }

  private async publishWill(clientId: string, brokerId: string): Promise<void> {
    const will = await this.persistence.getWill({ id: clientId })
    if (will?.brokerId !== brokerId) return
    const { aedes } = this.parts!
    const packet = { cmd: 'publish' as const, dup: false, ...will }
    await new Promise<void>(resolve => {
      aedes.authorizePublish(null, packet, error => (error ? resolve() : aedes.publish(packet, () => resolve())))
    })
    await this.persistence.delWill({ id: clientId })
  }
}
