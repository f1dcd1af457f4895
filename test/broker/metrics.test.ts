import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BrokerMetrics } from '@faultline/broker'
import { anna, collect, press, startBroker } from './harness.ts'

test('the metrics say what the broker has done', async t => {
  const { broker, connect } = await startBroker(t, { limits: { queuedMessages: 2 } })
  const { registry } = new BrokerMetrics(broker)
  const read = async (series: string): Promise<number> => {
    const line = (await registry.metrics()).split('\n').find(text => text.startsWith(`faultline_broker_${series} `))
    return Number(line?.split(' ')[1])
  }
  assert.equal(await read('connections'), 0)
  assert.equal(await read('dropped_total{reason="queue-full"}'), 0)
  const sleeper = await connect(anna, { clientId: `${anna.name}/s`, clean: false })
  await sleeper.subscribeAsync('faultline/v1/#', { qos: 1 })
  await sleeper.endAsync()
  const watcher = await connect(anna)
  const received = collect(watcher)
  await watcher.subscribeAsync('faultline/v1/#', { qos: 1 })
  const device = await connect(press)
  const stem = `faultline/v1/${press.name}`
  for (let i = 0; i < 3; i++) await device.publishAsync(`${stem}/points/de/inference`, 'x', { qos: 1 })
  await device.publishAsync(`${stem}/state`, 'on', { qos: 1, retain: true })
  await received.until(4)
  assert.equal(await read('connections'), 2)
  assert.equal(await read('messages_total{direction="in"}'), 4)
  assert.equal(await read('received_total{kind="inference"}'), 3)
  assert.equal(await read('received_total{kind="state"}'), 1)
  assert.ok((await read('messages_total{direction="out"}')) >= 4)
  assert.equal(await read('dropped_total{reason="queue-full"}'), 2)
  assert.equal(await read('queued_messages'), 2)
  assert.equal(await read('deepest_queue_messages'), 2)
  assert.ok((await read('queued_bytes')) > 0)
  assert.ok((await read('retained_messages')) >= 1)
  assert.equal(await read('sessions{client="sleeping"}'), 1)
  assert.equal(await read('sessions{client="connected"}'), 0)
  await broker.stop()
  assert.equal(await read('connections'), 0)
  assert.equal(await read('queued_messages'), 0)
})
