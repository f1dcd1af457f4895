import assert from 'node:assert/strict'
import { once } from 'node:events'
import { PassThrough, Readable } from 'node:stream'
import { test } from 'node:test'
import type { AedesPublishPacket, Client } from 'aedes'
import { type IPublishPacket, parser } from 'mqtt-packet'
import { Delivery } from '../../broker/delivery.ts'

const packet = {
  cmd: 'publish',
  topic: 't',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  dup: false,
  brokerId: 'b',
}

test('what comes in the very moment in which the last of a queue was read is not left in it', async () => {
  for (let delay = 0; delay < 40; delay++) {
    const conn = new PassThrough()
    const reader = parser()
    conn.on('data', bytes => reader.parse(bytes))
    const client = {
      ...{
        id: 'c',
        clean: false,
        closed: false,
        connackSent: true,
        subscriptions: { t: { qos: 1 } },
        _nextId: 1,
        conn,
      },
      waitForDrain: (drained: () => void) => void conn.once('drain', drained),
    } as unknown as Client & { deliverQoS(packet: AedesPublishPacket, done: () => void): void }
    const rows: AedesPublishPacket[] = []
    let reads = 0
    /** Stored and published a number of microtasks after the queue was read to its end. */
    async function publish(): Promise<void> {
      for (let i = 0; i < delay; i++) await undefined
      const message = { ...packet, brokerCounter: 1 } as unknown as AedesPublishPacket
      rows.push(message)
      client.deliverQoS(message, () => {})
    }
    const delivery = new Delivery(client, {
      outboundBytes: 1_000,
      queue: {
        outgoingEnqueue: async () => {},
        outgoingUpdate: async () => {},
        outgoingClearMessageId: async () => undefined,
        outgoingStream: () => {
          const found = [...rows]
          const isFirst = reads++ === 0
          async function* read() {
            yield* found
            if (isFirst) publish().catch(assert.ifError)
          }
          return read() as unknown as Readable // Without the turns of the event loop that a stream takes to end.
        },
      },
      retained: () => Readable.from([]),
      stamp: () => ({ brokerId: 'r', brokerCounter: 1 }),
      sent: () => {},
      dropped: () => assert.fail(),
      tooSlow: () => assert.fail(),
    })
    delivery.start()
    const [got] = (await once(reader, 'packet', { signal: AbortSignal.timeout(5_000) })) as [IPublishPacket]
    assert.equal(String(got.payload), 'x', `after ${delay} microtasks`)
  }
})
