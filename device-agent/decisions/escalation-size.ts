import { checkWindow } from '@faultline/inference'
import { delivery, encodePayload, publishPacketBytes, type TopicAddress, topicOf } from '@faultline/protocol'
import type { AgentPoint } from '../point-monitor.ts'
import type { SourceWindow } from '../sources/source.ts'
import type { LocalModel } from './assessment.ts'
import { escalationOf, recordOf } from './window-record.ts'

/** Bytes of an escalation: topic and payload, and the whole MQTT packet. */
export interface EscalationSize {
  content: number
  packet: number
}

export function sizeOf(address: TopicAddress, payloadBytes: number): EscalationSize {
  const topic = topicOf(address)
  return {
    content: Buffer.byteLength(topic) + payloadBytes,
    packet: publishPacketBytes(topic, payloadBytes, delivery[address.kind].qos),
  }
}

/**
 * What escalating a window of a point would take, before its model has answered. Windows of a point differ by a few bytes
 * (a longer reason, rounder probabilities). Throws `WINDOW_INVALID`.
 */
export function expectedSize(
  address: TopicAddress,
  point: Pick<AgentPoint, 'point' | 'machine'>,
  window: SourceWindow,
  model: LocalModel,
): EscalationSize {
  checkWindow(window.window)
  const { classes } = model
  const probabilities = classes.map(() => 1 / 3) // A number with all its digits, as most are.
  const assessment = {
    local: { label: classes[0]!, confidence: 1 / 3, probabilities, classes },
    valid: true,
    decision: { action: 'escalate', reason: 'below-threshold', numbers: {} } as const,
    features: {},
  }
  const record = recordOf(window, point, assessment, model, { price: 1 })
  return sizeOf(address, encodePayload('escalation', escalationOf(record, window, model, 1)).byteLength)
}
