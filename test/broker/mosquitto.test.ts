import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Identity, topicKinds, topicOf } from '@faultline/protocol'
import { startProgram } from '../support/processes.ts'
import { missing } from '../support/programs.ts'
import { anna, flows, plantA, press, pump, server, startBroker, type TestBroker, verdictFor } from './harness.ts'

type Test = Parameters<typeof startProgram>[0]

const skip = missing('mosquitto_pub', 'mosquitto_sub')

function flags({ broker, secrets }: TestBroker, identity: Identity): string[] {
  const clientId = identity.role === 'operator' ? [] : ['-i', identity.name]
  const login = ['-u', identity.name, '-P', secrets.get(identity.name)!]
  return ['-h', '127.0.0.1', '-p', String(broker.port), ...clientId, ...login]
}

const desired = `faultline/v1/${press.name}/config/desired`

/** Leaves a message that a subscriber is given at once, so that it is known when its subscription holds. */
async function retain(t: Test, broker: TestBroker): Promise<void> {
  const { status } = await publish(t, [...flags(broker, flows), '-r', '-q', '1', '-t', desired, '-m', 'ready'])
  assert.equal(status, 0)
}

/** Runs mosquitto_pub beside the broker, which is in this process. */
async function publish(t: Test, args: string[]) {
  const program = startProgram(t, 'mosquitto_pub', args)
  return { status: await program.exited, output: program.output }
}

test('mosquitto_sub of an operator sees every topic of the contract', { skip }, async t => {
  const broker = await startBroker(t)
  await retain(t, broker)
  const count = ['-C', String(topicKinds.length + 1)]
  const all = ['-t', 'faultline/v1/#', '-F', 'got %t', ...count]
  const subscriber = startProgram(t, 'mosquitto_sub', [...flags(broker, anna), ...all])
  await subscriber.said(/got .*config\/desired/)
  const publishers = [press, server, flows, plantA, anna]
  const expected = topicKinds.map(kind => {
    const pool = { machineType: 'fan', model: '4f1a2b3c4d5e', evidence: 'logistic' }
    const alarm = { machine: 'press', fault: 'ball' }
    const names = {
      site: 'plant-a',
      device: 'press-1',
      point: 'de',
      server: 'gpu-1',
      rollout: 'r-1',
      service: 'anna',
      ...alarm,
      ...pool,
    }
    return topicOf({ kind, ...names } as Parameters<typeof topicOf>[0])
  })
  for (const topic of expected) {
    // Who may publish it: the broker ends the connection of anybody else.
    let published = false
    for (const identity of publishers) {
      const { status } = await publish(t, [...flags(broker, identity), '-q', '1', '-t', topic, '-m', 'x'])
      published = status === 0
      if (published) break
    }
    assert.ok(published, topic)
  }
  assert.equal(await subscriber.exited, 0)
  const got = [...subscriber.output.matchAll(/^got (.*)$/gm)].map(([, topic]) => topic)
  assert.deepEqual(got.sort(), [desired, ...expected].sort())
})

test("mosquitto_sub of a device cannot read another device's verdicts", { skip }, async t => {
  const broker = await startBroker(t)
  await retain(t, broker)
  const topics = ['-t', verdictFor('pump-2'), '-t', verdictFor('press-1'), '-t', desired]
  const subscriber = startProgram(t, 'mosquitto_sub', [
    ...flags(broker, press),
    '-d',
    '-q',
    '1',
    ...topics,
    '-F',
    'got %p',
  ])
  await subscriber.said(/got ready/)
  assert.match(subscriber.output, /Subscribed \(mid: \d+\): 128, 1, 1/)
  for (const device of ['pump-2', 'press-1']) {
    const verdict = ['-q', '1', '-t', verdictFor(device), '-m', `for ${device}`]
    assert.equal((await publish(t, [...flags(broker, server), ...verdict])).status, 0)
  }
  await subscriber.said(/got for press-1/)
  assert.doesNotMatch(subscriber.output, /for pump-2/)
  await subscriber.stop()
})

test('mosquitto_pub cannot publish as another device', { skip }, async t => {
  const broker = await startBroker(t)
  await retain(t, broker)
  const subscriber = startProgram(t, 'mosquitto_sub', [...flags(broker, anna), '-t', 'faultline/v1/#', '-F', 'got %p'])
  await subscriber.said(/got ready/)
  const state = (identity: Identity) => ['-q', '1', '-t', `faultline/v1/${identity.name}/state`]
  await publish(t, [...flags(broker, press), ...state(pump), '-m', 'forged'])
  await publish(t, [...flags(broker, press), ...state(press), '-m', 'honest'])
  await subscriber.said(/got honest/)
  assert.doesNotMatch(subscriber.output, /forged/)
  assert.equal(broker.broker.counts.refusedPublishes, 1)
  await subscriber.stop()
})

test('the mosquitto clients are refused without a name, and with a wrong secret', { skip }, async t => {
  const broker = await startBroker(t)
  const address = ['-h', '127.0.0.1', '-p', String(broker.broker.port), '-t', 'faultline/v1/#']
  for (const login of [[], ['-u', anna.name, '-P', 'wrong']]) {
    const subscriber = startProgram(t, 'mosquitto_sub', [...address, ...login])
    assert.notEqual(await subscriber.exited, 0)
    assert.match(subscriber.output, /refused|not authori[sz]ed/i)
  }
})
