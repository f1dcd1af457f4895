import { z } from 'zod'
import { defaultLimits } from './broker.ts'

const path = z.string().min(1)
const port = z.int().min(0).max(65_535)

/** The file of `npm run broker -- --config FILE`. */
export const brokerConfig = z.strictObject({
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
  limits: z
    .strictObject({
      packetBytes: z
        .int()
        .min(128)
        .max(268_435_455)
        .default(defaultLimits.packetBytes)
        .describe('Bytes of one packet: topic and payload'),
      topicLevels: z.int().min(10).max(100).default(defaultLimits.topicLevels).describe('Levels of a topic'),
      failedLogins: z
        .int()
        .min(1)
        .default(defaultLimits.failedLogins)
        .describe('Failed logins of one address in a minute, and at once'),
      connectTimeoutMs: z.int().min(100).default(defaultLimits.connectTimeoutMs).describe('From connection to CONNECT'),
      drainTimeoutMs: z
        .int()
        .min(100)
        .default(defaultLimits.drainTimeoutMs)
        .describe('For a client that does not read'),
      queuedMessages: z
        .int()
        .min(1)
        .default(defaultLimits.queuedMessages)
        .describe('Waiting for one stored session; beyond it the oldest are dropped, commands and configuration last'),
      queuedBytes: z
        .int()
        .min(1)
        .default(defaultLimits.queuedBytes)
        .describe('Topics and payloads waiting for one stored session'),
      absentSessionMs: z
        .int()
        .min(100)
        .default(defaultLimits.absentSessionMs)
        .describe('How long a stored session outlives its connection'),
    })
    .optional()
    .describe('On every client'),
})

export type BrokerConfig = z.infer<typeof brokerConfig>
