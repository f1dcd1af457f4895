import assert from 'node:assert/strict'
import { test } from 'node:test'
import { publishPacketBytes } from '@faultline/protocol'
import packet from 'mqtt-packet'

test('a PUBLISH packet has the size that MQTT gives it', () => {
  for (const topic of ['t', 'faultline/v1/devices/plant-a/press-3/points/motor-de/escalation', 'größe']) {
    for (const qos of [0, 1] as const) {
      // About each length at which the remaining length takes a byte more.
      for (const size of [0, 1, 30, 119, 120, 127, 128, 16_300, 16_383, 16_384, 2_097_100, 2_097_152]) {
        const bytes = packet.generate({
          cmd: 'publish',
          topic,
          payload: Buffer.alloc(size),
          qos,
          messageId: 7,
          dup: false,
          retain: false,
        })
        assert.equal(publishPacketBytes(topic, size, qos), bytes.length, `${topic}, QoS ${qos}, ${size} bytes`)
      }
    }
  }
})
