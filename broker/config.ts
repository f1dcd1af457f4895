import { z } from 'zod'
import { defaultLimits } from './broker.ts'

const port = z.int().min(0).max(65_535)

/** The file of `npm run broker -- --config FILE`. */
export const brokerConfig = z.strictObject({
  host: z
    .string()
    .min(1)
    .default('127.0.0.1')
    .describe('Address to listen on; there is no TLS yet, so keep it trusted'),
  port: port.default(1883).describe('MQTT over TCP; 0 takes any free port'),
  webSocketPort: port.optional().describe('MQTT over WebSocket; none when absent'),
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
