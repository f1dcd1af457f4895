import type { DatabaseFailure } from '@faultline/runtime'

/** Why a message that was accepted did not go where it was meant to. */
export const dropReasons = [
  'queue-full',
  'queue-age',
  'slow-consumer',
  'no-member',
  'group-abandoned',
  'store-damaged',
  'store-refused',
] as const
export type DropReason = (typeof dropReasons)[number]

/** Why the store did not do what was asked of it. */
export const storeErrorReasons = [
  'full',
  'damaged',
  'locked',
  'read-only',
  'io',
  'newer',
  'other',
] as const satisfies DatabaseFailure[]

/** Why a client was disconnected, or not let in at all, for what it did to a limit. */
export const limitReasons = [
  'connections',
  'handshake',
  'packet-size',
  'rate',
  'slow-consumer',
  'subscriptions',
  'sessions',
] as const
export type LimitReason = (typeof limitReasons)[number]

/** What a broker has seen since it was made. */
export interface BrokerCounts {
  /** Connections that have logged in and not yet ended; and how many there were at most. */
  connected: number
  connectedMaximum: number
  /** PUBLISH packets taken from clients, and handed to them; and bytes of their topics and payloads. */
  received: number
  sent: number
  receivedBytes: number
  sentBytes: number
  /** PUBLISH packets taken, by kind of topic. */
  receivedByKind: Record<string, number>
  refusedLogins: number
  /** Clients that speak another version of MQTT. */
  refusedVersions: number
  /** Connections that took the place of another with the same client id. */
  takeovers: number
  /** Connections that ended because the registry changed. */
  revokedConnections: number
  refusedPublishes: number
  refusedSubscriptions: number
  /** Times a client was held back for sending too fast. */
  heldBack: number
  /** Stored sessions that ended because their clients stayed away or were revoked. */
  expiredSessions: number
  /** Commands that the Redis of a cluster refused or did not take. */
  redisErrors: number
  /** Changes and readings of the store that failed. */
  storeErrors: Record<DatabaseFailure, number>
  /** Stores that were damaged and made room for new ones. */
  damagedStores: number
  dropped: Record<DropReason, number>
  limited: Record<LimitReason, number>
}

export const noCounts = (): BrokerCounts => ({
  connected: 0,
  connectedMaximum: 0,
  received: 0,
  sent: 0,
  receivedBytes: 0,
  sentBytes: 0,
  receivedByKind: {},
  refusedLogins: 0,
  refusedVersions: 0,
  takeovers: 0,
  revokedConnections: 0,
  refusedPublishes: 0,
  refusedSubscriptions: 0,
  heldBack: 0,
  expiredSessions: 0,
  redisErrors: 0,
  storeErrors: zeros(storeErrorReasons),
  damagedStores: 0,
  dropped: zeros(dropReasons),
  limited: zeros(limitReasons),
})

const zeros = <K extends string>(names: readonly K[]): Record<K, number> =>
  Object.fromEntries(names.map(name => [name, 0])) as Record<K, number>
