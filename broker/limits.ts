import { maxPayloadBytes } from '@faultline/protocol'

/** On every client, so that none can hurt another. */
export interface BrokerLimits {
  /** Remaining length of a packet: topic and payload. */
  packetBytes: number
  /** The same for CONNECT, which anybody may send: user name, secret and will. */
  connectBytes: number
  topicLevels: number
  /** Connections in all, and from one address (a /64 of IPv6). */
  connections: number
  connectionsPerAddress: number
  /** Failed logins that one address may have in a minute, and at once. */
  failedLogins: number
  /** How long a connection may take to send CONNECT, in ms. */
  connectTimeoutMs: number
  /** The longest keep-alive (MQTT 3.1.1, 3.1.2.10), in s; who asks for a longer one, or for none, gets this. */
  keepAliveS: number
  /** PUBLISH packets, and bytes of all packets, that a client may send in a second. It is held back first. */
  messagesPerSecond: number
  bytesPerSecond: number
  /** How long a client may be held back without a pause before it is disconnected, in ms. */
  heldBackMs: number
  subscriptionsPerClient: number
  /** Bytes that may wait for a client that reads slowly; it misses QoS 0 then, and is disconnected for QoS 1 and 2. */
  outboundBytes: number
  /** How long a client may leave its full buffer unread before it is disconnected, in ms. */
  drainTimeoutMs: number
  /** Stored sessions of one identity. Only operators can have more than one. */
  sessionsPerIdentity: number
  /** How long a stored session outlives its connection, in ms. */
  absentSessionMs: number
  /** Messages that a stored session or a group may have waiting, and bytes of their topics and payloads. */
  queuedMessages: number
  queuedBytes: number
  /** The same for a recorder, which has to be told everything: an hour of a hundred devices with four points each. */
  recorderQueuedMessages: number
  recorderQueuedBytes: number
  /** How long telemetry may wait for a stored session or a group, in ms. */
  queuedMs: number
  /** Messages of QoS 1 that a member of a group may have unacknowledged before others are preferred. */
  sharedInFlight: number
  /** How long a group without members keeps what it has and what comes for it, in ms. */
  emptyGroupMs: number
}

/** The packet limit is the largest payload of the contract, and room for the longest topic MQTT knows. */
export const defaultLimits: BrokerLimits = {
  packetBytes: maxPayloadBytes + 65_536 + 4,
  connectBytes: 65_536,
  topicLevels: 20,
  connections: 20_000,
  connectionsPerAddress: 2_000,
  failedLogins: 30,
  connectTimeoutMs: 10_000,
  keepAliveS: 3_600,
  messagesPerSecond: 5_000,
  bytesPerSecond: 33_554_432,
  heldBackMs: 60_000,
  subscriptionsPerClient: 200,
  outboundBytes: 16_777_216,
  drainTimeoutMs: 30_000,
  sessionsPerIdentity: 10,
  absentSessionMs: 86_400_000,
  queuedMessages: 10_000,
  queuedBytes: 67_108_864,
  recorderQueuedMessages: 1_500_000,
  recorderQueuedBytes: 1_610_612_736,
  queuedMs: 86_400_000,
  sharedInFlight: 100,
  emptyGroupMs: 300_000,
}
