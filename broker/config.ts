import { identifier } from '@faultline/protocol'
import { brokerAccess, maxTimerMs, operationsConfig, withMigrations } from '@faultline/runtime'
import { z } from 'zod'
import { type BrokerLimits, defaultLimits } from './limits.ts'

const path = z.string().min(1)
const port = z.int().min(0).max(65_535)

const limit = (name: keyof BrokerLimits, minimum: number, meaning: string, maximum = Number.MAX_SAFE_INTEGER) =>
  z.int().min(minimum).max(maximum).default(defaultLimits[name]).describe(meaning)

const schema = z.strictObject({
  host: z.string().min(1).default('127.0.0.1').describe('Address for MQTT without TLS'),
  port: port.default(1883).describe('MQTT over TCP; 0 takes any free port'),
  webSocketPort: port.optional().describe('MQTT over WebSocket; none when absent'),
  plain: z
    .enum(['loopback', 'anywhere', 'none'])
    .default('loopback')
    .describe('MQTT without TLS: only where host is loopback, wherever it is, or not at all'),
  tls: z
    .strictObject({
      host: z.string().min(1).optional().describe('Address for MQTT over TLS; all of the machine when absent'),
      port: port.default(8883).describe('MQTT over TLS; 0 takes any free port'),
      webSocketPort: port.optional().describe('MQTT over WebSocket over TLS; none when absent'),
      certificate: path.describe('PEM file; read again when it changes, as are the next two'),
      key: path.describe('PEM file of its private key'),
      ca: path.optional().describe('PEM file of the authority that signs the certificates of clients'),
      clientCertificates: z
        .enum(['none', 'optional', 'required'])
        .default('none')
        .describe('Whether clients may or must show a certificate, which stands for the secret'),
    })
    .optional()
    .describe('MQTT over TLS, 1.2 and later'),
  registry: z
    .string()
    .min(1)
    .default('.faultline/registry.db')
    .describe('The registry that `npm run provision` writes'),
  store: path
    .default('.faultline/broker.db')
    .describe('File of the sessions, retained and queued messages; `:memory:` forgets them when the broker ends'),
  redis: z
    .string()
    .regex(/^rediss?:\/\//, 'is not redis://… or rediss://…')
    .optional()
    .describe('URL of a Redis in which several brokers keep sessions and messages together, in place of `store`'),
  bridge: brokerAccess({
    site: identifier.describe('The site of this broker; with the upstream broker the bridge is sites/{site}'),
    maxMessages: z
      .int()
      .positive()
      .default(10_000)
      .describe(
        'Escalations that may wait while the upstream broker is away, each for as long as its deadline; the oldest go',
      ),
    maxBytes: z.int().min(65_536).default(67_108_864).describe('Bytes of these'),
  })
    .optional()
    .describe(
      'Carries what server agents ask further up to an upstream broker, and the verdicts back; none when absent',
    ),
  operations: operationsConfig,
  limits: z
    .strictObject({
      packetBytes: limit('packetBytes', 128, 'Bytes of one packet: topic and payload', 268_435_455),
      connectBytes: limit(
        'connectBytes',
        512,
        'Bytes of CONNECT: what anybody may have the broker keep before a login',
      ),
      topicLevels: limit('topicLevels', 10, 'Levels of a topic', 100),
      connections: limit('connections', 1, 'Connections in all'),
      connectionsPerAddress: limit('connectionsPerAddress', 1, 'Connections of one address, or /64 of IPv6'),
      failedLogins: limit('failedLogins', 1, 'Failed logins of one address in a minute, and at once'),
      connectTimeoutMs: limit('connectTimeoutMs', 100, 'From connection to CONNECT', maxTimerMs),
      keepAliveS: limit('keepAliveS', 1, 'Longest keep-alive; who asks for a longer one or none gets this', 65_535),
      messagesPerSecond: limit('messagesPerSecond', 1, 'Messages one client may publish; it is held back beyond'),
      bytesPerSecond: limit('bytesPerSecond', 1_024, 'Bytes one client may send; it is held back beyond'),
      heldBackMs: limit(
        'heldBackMs',
        0,
        'How long a client may be held back without a pause before it is disconnected',
      ),
      subscriptionsPerClient: limit('subscriptionsPerClient', 1, 'Subscriptions of one client'),
      outboundBytes: limit('outboundBytes', 1_024, 'Bytes that may wait for a client that reads slowly'),
      drainTimeoutMs: limit('drainTimeoutMs', 100, 'For a client that does not read', maxTimerMs),
      sessionsPerIdentity: limit('sessionsPerIdentity', 1, "Stored sessions of one identity's tools"),
      absentSessionMs: limit('absentSessionMs', 100, 'How long a stored session outlives its connection'),
      queuedMessages: limit(
        'queuedMessages',
        1,
        'Waiting for one stored session or group; beyond it the oldest are dropped, commands and configuration last',
      ),
      queuedBytes: limit('queuedBytes', 1, 'Topics and payloads waiting for one stored session or group'),
      recorderQueuedMessages: limit('recorderQueuedMessages', 1, 'As queuedMessages, for the session of a recorder'),
      recorderQueuedBytes: limit('recorderQueuedBytes', 1, 'As queuedBytes, for the session of a recorder'),
      queuedMs: limit('queuedMs', 1_000, 'How long telemetry may wait for a stored session or group'),
      sharedInFlight: limit('sharedInFlight', 1, 'Unacknowledged messages of one member of a shared group', 65_000),
      emptyGroupMs: limit('emptyGroupMs', 100, 'How long a shared group outlives its last member', maxTimerMs),
    })
    .optional()
    .describe('On every client'),
})

/** The file of `npm run broker -- --config FILE`. */
export const brokerConfig = withMigrations(schema, {
  renamed: { 'bridge.waitingMessages': 'bridge.maxMessages', 'bridge.waitingBytes': 'bridge.maxBytes' },
})

export type BrokerConfig = z.infer<typeof brokerConfig>
