/** What a broker has seen since it was made. */
export interface BrokerCounts {
  /** Connections that have logged in and not yet ended. */
  connected: number
  /** PUBLISH packets taken from clients, and handed to them. */
  received: number
  sent: number
  refusedLogins: number
  /** Connections that ended because the registry changed. */
  revokedConnections: number
  refusedPublishes: number
  refusedSubscriptions: number
  /** Connections that ended before they could speak MQTT. */
  failedHandshakes: number
  oversizedPackets: number
  /** Messages that stored sessions lost because their queues were full. */
  droppedQueued: number
  /** Stored sessions that ended because their clients stayed away. */
  expiredSessions: number
}

export const noCounts = (): BrokerCounts => ({
  connected: 0,
  received: 0,
  sent: 0,
  refusedLogins: 0,
  revokedConnections: 0,
  refusedPublishes: 0,
  refusedSubscriptions: 0,
  failedHandshakes: 0,
  oversizedPackets: 0,
  droppedQueued: 0,
  expiredSessions: 0,
})
