import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { generate, type IConnectPacket, type Packet } from 'mqtt-packet'
import { anna, press, recordLog, startBroker, type TestBroker } from './harness.ts'
import { connectPacket, connectRaw, type RawClient } from './raw-client.ts'

const state = `faultline/v1/${press.name}/state`
const server = 'faultline/v1/servers/+/state'
const command = `faultline/v1/${press.name}/command`

const loginOf = ({ secrets }: TestBroker, more: Partial<IConnectPacket> = {}): IConnectPacket => ({
  ...connectPacket,
  clientId: press.name,
  username: press.name,
  password: Buffer.from(secrets.get(press.name)!),
  ...more,
})

async function connectPress(t: TestContext, broker: TestBroker): Promise<RawClient> {
  const client = await connectRaw(t, broker.broker.port, loginOf(broker))
  assert.equal((await client.next('connack')).returnCode, 0)
  return client
}

/** A packet with a byte changed. */
function changed(packet: Packet, at: number, value: number): Buffer {
  const bytes = generate(packet)
  bytes[at] = value
  return bytes
}

const publish = (qos: 0 | 1 | 2, messageId?: number): Packet => ({
  cmd: 'publish',
  topic: state,
  payload: 'x',
  qos,
  dup: false,
  retain: false,
  messageId,
})

/** Packets that MQTT 3.1.1 has a server close the connection for, by what is wrong and its clause. */
const forbidden: Record<string, Buffer> = {
  'PUBLISH of QoS 1 with packet identifier 0 (2.3.1-1)': changed(publish(1, 1), 5 + state.length, 0),
  'PUBLISH of QoS 2 with packet identifier 0 (2.3.1-1)': changed(publish(2, 1), 5 + state.length, 0),
  'SUBSCRIBE with packet identifier 0 (2.3.1-1)': changed(
    { cmd: 'subscribe', messageId: 1, subscriptions: [{ topic: server, qos: 0 }] },
    3,
    0,
  ),
  'UNSUBSCRIBE with packet identifier 0 (2.3.1-1)': changed(
    { cmd: 'unsubscribe', messageId: 1, unsubscriptions: [server] },
    3,
    0,
  ),
  'SUBSCRIBE without a filter (3.8.3-3)': Buffer.from([0x82, 2, 0, 1]),
  'UNSUBSCRIBE without a filter (3.10.3-2)': Buffer.from([0xa2, 2, 0, 1]),
  'DUP at QoS 0 (3.3.1-2)': changed(publish(0), 0, 0x38),
  'QoS 3 (3.3.1-4)': changed(publish(1, 1), 0, 0x36),
  'PINGREQ with a body (3.12)': Buffer.from([0xc0, 1, 0]),
  'a second CONNECT (3.1.0-2)': generate({ ...connectPacket, clientId: press.name }),
}

for (const [what, bytes] of Object.entries(forbidden)) {
  test(`the connection is closed for ${what}`, async t => {
    const broker = await startBroker(t)
    const client = await connectPress(t, broker)
    client.socket.write(bytes)
    // What follows in the same piece is not handled either.
    client.send({ cmd: 'pingreq' })
    await client.closed()
    assert.deepEqual(client.left(), [])
  })
}

test('a CONNECT with bytes after its payload, or a password and no user name, is closed without a CONNACK', async t => {
  const broker = await startBroker(t)
  const whole = generate(loginOf(broker))
  const longer = Buffer.concat([whole, Buffer.from('zzz')])
  longer[1]! += 3
  assert.ok(longer[1]! < 0x80)
  // The empty user name is cut out, with its flag and its length.
  const nameless = generate(loginOf(broker, { username: '' }))
  const at = 14 + press.name.length
  const flagless = Buffer.concat([nameless.subarray(0, at), nameless.subarray(at + 2)])
  flagless[1]! -= 2
  flagless[9]! &= 0x7f
  for (const bytes of [longer, flagless]) {
    const client = await connectRaw(t, broker.broker.port)
    client.socket.write(bytes)
    await client.closed()
    assert.deepEqual(client.left(), [])
  }
})

for (const level of [5, 6, 127]) {
  test(`protocol level ${level} is refused with CONNACK 1 (3.1.2-2), logged and counted`, async t => {
    const { lines, logger } = recordLog()
    const broker = await startBroker(t, { logger })
    const bytes = generate(loginOf(broker))
    const packet = level === 5 ? generate(loginOf(broker, { protocolVersion: 5 })) : bytes
    packet[8] = level
    const client = await connectRaw(t, broker.broker.port)
    client.socket.write(packet)
    assert.equal((await client.next('connack')).returnCode, 1)
    await client.closed()
    assert.equal(broker.broker.counts.refusedVersions, 1)
    const refusals = lines.filter(({ msg }) => String(msg).includes('another version of MQTT'))
    assert.equal(refusals.length, 1)
    const [line] = refusals
    assert.equal(line!.address, '127.0.0.1')
    // A CONNECT of another level than 5 cannot be read beyond it.
    if (level === 5) assert.deepEqual([line!.user, line!.clientId], [press.name, press.name])
    else assert.equal(line!.version, `level ${level}`)
    assert.ok(!JSON.stringify(lines).includes(broker.secrets.get(press.name)!))
  })
}

test('a SUBACK has a return code for each filter, also for one that is there twice (3.8.4-5, 3.9.3)', async t => {
  const broker = await startBroker(t)
  const client = await connectPress(t, broker)
  const ask = async (filters: readonly string[], qos: readonly (0 | 1 | 2)[]) => {
    const subscriptions = filters.map((topic, i) => ({ topic, qos: qos[i]! }))
    client.send({ cmd: 'subscribe', messageId: 7, subscriptions })
    const { granted, messageId } = await client.next('suback')
    assert.equal(messageId, 7)
    return granted
  }
  assert.deepEqual(await ask([server, server, command], [0, 1, 1]), [0, 1, 1])
  assert.deepEqual(await ask([server, server, '#'], [1, 1, 1]), [1, 1, 0x80])
  assert.deepEqual(await ask(['#', command, '#', command, command], [0, 2, 2, 0, 1]), [0x80, 2, 0x80, 0, 1])
  // The last of each is the one that stands (3.8.4-3).
  const operator = await broker.connect(anna)
  await operator.publishAsync(command, 'go', { qos: 2 })
  assert.equal((await client.next('publish')).qos, 1)
})

test('a connection that takes the place of another is counted, and logged once a minute', async t => {
  const { lines, logger } = recordLog()
  const broker = await startBroker(t, { logger })
  for (let i = 0; i < 4; i++) await connectPress(t, broker)
  assert.equal(broker.broker.counts.takeovers, 3)
  const takeovers = lines.filter(({ msg }) => String(msg).includes('took the place'))
  assert.deepEqual(
    takeovers.map(({ user, clientId, address, formerAddress }) => ({ user, clientId, address, formerAddress })),
    [{ user: press.name, clientId: press.name, address: '127.0.0.1', formerAddress: '127.0.0.1' }],
  )
})
