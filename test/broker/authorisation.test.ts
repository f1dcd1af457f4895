import assert from 'node:assert/strict'
import { test } from 'node:test'
import { identityOf } from '@faultline/protocol'
import { mayPublish, maySubscribe } from '../../broker/authorisation.ts'
import {
  anna,
  collect,
  escalationOf,
  escalations,
  flows,
  press,
  pump,
  server,
  startBroker,
  verdictFor,
} from './harness.ts'

test('a share of a filter needs the right to the filter', () => {
  assert.ok(maySubscribe(server, `$share/servers/${escalations}`))
  assert.ok(maySubscribe(anna, '$share/tools/$SYS/#'))
  for (const filter of ['$share/servers/#', '$share/servers/faultline/v1/#', `$share/g/${verdictFor('press-1')}`]) {
    assert.equal(maySubscribe(server, filter), false, filter)
  }
})

test('a malformed share is refused, whatever it would give', () => {
  for (const filter of [
    '$share',
    '$share/',
    '$share/g',
    '$share/g/',
    '$share//faultline/v1/#',
    '$share/+/faultline/v1/#',
  ]) {
    assert.equal(maySubscribe(anna, filter), false, filter)
  }
})

test('nobody publishes below $', () => {
  for (const identity of [press, server, flows, anna, identityOf('recorder', 'r')]) {
    for (const topic of ['$SYS/broker/version', '$SYS', `$share/g/${verdictFor('press-1')}`]) {
      assert.equal(mayPublish(identity, topic), false)
    }
  }
})

test('a publish that is not allowed ends the connection and reaches nobody', async t => {
  const { connect, broker } = await startBroker(t)
  const watcher = await connect(anna)
  await watcher.subscribeAsync('faultline/v1/#')
  const received = collect(watcher)
  const forbidden = [
    escalationOf('pump-2'),
    verdictFor('press-1'),
    '$SYS/broker/version',
    'other/topic',
    escalationOf('press-1').replace('/de/', '/Drive End/'), // Points are identifiers.
  ]
  for (const topic of forbidden) {
    for (const qos of [0, 1, 2] as const) {
      const device = await connect(press)
      const closed = new Promise<void>(resolve => device.once('close', resolve))
      device.on('error', () => {})
      device.publish(topic, 'forged', { qos }, () => {})
      await closed // MQTT 3.1.1, 3.3.5-2
    }
  }
  const device = await connect(press)
  await device.publishAsync(escalationOf('press-1'), 'real', { qos: 1 })
  await received.until(1)
  assert.deepEqual(received.payloads(), ['real'])
  assert.equal(broker.counts.refusedPublishes, forbidden.length * 3)
})

test('a filter that is not allowed is refused alone', async t => {
  const { connect, broker } = await startBroker(t)
  const device = await connect(press)
  const filters = ['#', '+/+', verdictFor('press-1'), verdictFor('pump-2'), verdictFor('+'), '$share/g/#', '$SYS/#']
  const error = await device.subscribeAsync(filters, { qos: 1 }).then(
    () => assert.fail('all granted'),
    (thrown: { packet: { granted: number[] } }) => thrown,
  )
  assert.deepEqual(error.packet.granted, [128, 128, 1, 128, 128, 128, 128])
  assert.equal(broker.counts.refusedSubscriptions, 6)
})

test('a stored session gets nothing for a filter that was refused beside one that was granted', async t => {
  const { connect } = await startBroker(t)
  const stored = { clean: false }
  const first = await connect(press, stored)
  await assert.rejects(first.subscribeAsync([verdictFor('press-1'), verdictFor('pump-2')], { qos: 1 }))
  await first.endAsync()
  const agent = await connect(server)
  await agent.publishAsync(verdictFor('pump-2'), 'not yours', { qos: 1 })
  await agent.publishAsync(verdictFor('press-1'), 'yours', { qos: 1 })
  const again = await connect(press, stored)
  const received = collect(again)
  await agent.publishAsync(verdictFor('pump-2'), 'still not yours', { qos: 1 })
  await agent.publishAsync(verdictFor('press-1'), 'yours again', { qos: 1 })
  await received.until(2)
  assert.deepEqual(received.payloads(), ['yours', 'yours again'])
})

test('a retained message reaches those who may read it', async t => {
  const { connect } = await startBroker(t)
  const state = `faultline/v1/${pump.name}/state`
  const device = await connect(pump)
  await device.publishAsync(state, 'online', { qos: 1, retain: true })
  const watcher = await connect(anna)
  const received = collect(watcher)
  await watcher.subscribeAsync('faultline/v1/#', { qos: 1 })
  const [message] = await received.until(1)
  assert.deepEqual(message, { topic: state, payload: 'online', qos: 1, retain: true })
})

test('a will goes only where its client may publish', async t => {
  const { connect, broker } = await startBroker(t)
  const will = (topic: string) => ({ will: { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: true } })
  for (const topic of [`faultline/v1/${pump.name}/state`, '$SYS/broker/version', 'other', verdictFor('press-1'), '#']) {
    await assert.rejects(connect(press, will(topic)), topic)
  }
  const watcher = await connect(anna)
  const received = collect(watcher)
  await watcher.subscribeAsync('faultline/v1/#', { qos: 1 })
  const device = await connect(press, will(`faultline/v1/${press.name}/state`))
  device.stream.destroy()
  await received.until(1)
  assert.deepEqual(received.payloads(), ['gone'])
  assert.equal(broker.counts.refusedPublishes, 0)
})

test('a message is forwarded to nobody whose rights it is beyond', async t => {
  const { connect } = await startBroker(t)
  const device = await connect(press)
  const received = collect(device)
  // Overlapping filters, some of which are refused: what is refused brings nothing.
  await device.subscribeAsync([verdictFor('press-1'), verdictFor('+'), 'faultline/v1/#'], { qos: 1 }).catch(() => {})
  const agent = await connect(server)
  await agent.publishAsync(verdictFor('pump-2'), 'not yours', { qos: 1 })
  await agent.publishAsync(verdictFor('press-1'), 'yours', { qos: 1 })
  await received.until(1)
  assert.deepEqual(received.payloads(), ['yours'])
})
