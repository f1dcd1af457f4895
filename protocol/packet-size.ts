/**
 * Bytes of a PUBLISH packet on the wire (MQTT 3.1.1, 3.3): fixed header with its remaining length (2.2.3), topic with its
 * length, packet identifier (QoS 1 and 2 alone), payload.
 */
export function publishPacketBytes(topic: string, payloadBytes: number, qos: 0 | 1 | 2): number {
  const remaining = 2 + Buffer.byteLength(topic) + (qos > 0 ? 2 : 0) + payloadBytes
  const lengthBytes = remaining < 2 ** 7 ? 1 : remaining < 2 ** 14 ? 2 : remaining < 2 ** 21 ? 3 : 4
  return 1 + lengthBytes + remaining
}
