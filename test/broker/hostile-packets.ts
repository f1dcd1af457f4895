import type { Random } from '@faultline/inference'
import { generate, type IConnectPacket, type IPublishPacket, type Packet } from 'mqtt-packet'
import { below, mutated, pick, randomBytes } from '../support/mutations.ts'

/** Who sends hostile packets, and what logs it in. */
export interface Login {
  name: string
  secret: string
}

const versions = [
  { protocolId: 'MQIsdp', protocolVersion: 3 },
  { protocolId: 'MQTT', protocolVersion: 4 },
  { protocolId: 'MQTT', protocolVersion: 5 },
] as const

/** Topics and filters that some broker has fallen over, and some that a device may use. */
const nastyNames = (name: string): string[] => [
  `faultline/v1/${name}/state`,
  `faultline/v1/${name}/command`,
  `faultline/v1/${name}/points/de/escalation`,
  `faultline/v1/${name}/points/__proto__/escalation`,
  `faultline/v1/${name}/points/constructor/verdict`,
  `$share/g/faultline/v1/${name}/command`,
  '',
  '/',
  '#',
  '+',
  'a/#/b',
  'a+',
  'faultline/v1/#',
  '$SYS/broker/version',
  '$SYS/#',
  '$share',
  '$share//a',
  '$share/+/a',
  '$share/__proto__/#',
  '__proto__',
  'constructor/prototype',
  'a/'.repeat(30),
  '/'.repeat(20_000),
  'x'.repeat(65_535),
  'nul\u0000inside',
  '\ufeff\u{10ffff}',
  '\ud800',
]

/** What payloads are made from. */
const sample = Buffer.from('{"id":"1","at":"2026-01-01T00:00:00.000Z","online":true,"probabilities":[0.5,1e-9]}')

const numbers = [-1, 0, 1, 2, 3, 127, 128, 255, 256, 32_768, 65_535, 65_536, 2 ** 31, NaN]

/** Valid packets of every kind and version that a client of that name may send. */
export function validPackets({ name, secret }: Login): Packet[] {
  const topic = `faultline/v1/${name}/points/de/escalation`
  const publish = { cmd: 'publish', topic, payload: Buffer.alloc(200, 7), dup: false, retain: false } as const
  const acknowledgements = (['puback', 'pubrec', 'pubrel', 'pubcomp'] as const).map(cmd => ({ cmd, messageId: 7 }))
  const will = { topic: `faultline/v1/${name}/state`, payload: Buffer.from('{}'), qos: 1 as const, retain: true }
  return [
    ...versions.map(version => connectOf({ name, secret }, version)),
    ...versions.map(version => ({ ...connectOf({ name, secret }, version), clean: false, will })),
    { ...publish, qos: 0 },
    { ...publish, qos: 1, messageId: 11 },
    { ...publish, qos: 2, messageId: 12 },
    { ...publish, qos: 1, messageId: 13, topic: `faultline/v1/${name}/state`, retain: true, payload: '{}' },
    { ...publish, qos: 1, messageId: 14, properties: { messageExpiryInterval: 3, userProperties: { a: 'b' } } },
    { cmd: 'subscribe', messageId: 15, subscriptions: [{ topic: `faultline/v1/${name}/command`, qos: 1 }] },
    {
      cmd: 'subscribe',
      messageId: 16,
      subscriptions: [
        { topic: `faultline/v1/${name}/points/+/verdict`, qos: 2 },
        { topic: `$share/g/faultline/v1/${name}/command`, qos: 1 },
      ],
    },
    { cmd: 'unsubscribe', messageId: 17, unsubscriptions: [`faultline/v1/${name}/command`] },
    ...acknowledgements,
    { cmd: 'pingreq' },
    { cmd: 'disconnect' },
    // What only a broker may send, and what only MQTT 5 knows.
    { cmd: 'connack', returnCode: 0, reasonCode: 0, sessionPresent: false },
    { cmd: 'suback', messageId: 15, granted: [0, 128] },
    { cmd: 'unsuback', messageId: 17, granted: [0] } as Packet,
    { cmd: 'pingresp' },
    { cmd: 'auth', reasonCode: 24, properties: { authenticationMethod: 'x' } },
  ]
}

export const connectOf = (
  { name, secret }: Login,
  version: (typeof versions)[number] = versions[1],
): IConnectPacket => ({
  cmd: 'connect',
  ...version,
  clean: true,
  keepalive: 60,
  clientId: name,
  username: name,
  password: Buffer.from(secret),
})

/** Makes wrong packets out of right ones: in a field, in the fixed header, or anywhere in the bytes. */
export class HostilePackets {
  private readonly packets: Packet[]
  private readonly encoded: Buffer[]
  private readonly names: string[]
  /** Those of the names that are well-formed, and topics that it may publish to. */
  private readonly filters: string[]
  private readonly topics: string[]

  constructor(login: Login) {
    this.packets = validPackets(login)
    this.encoded = this.packets.flatMap(packet =>
      versions.map(({ protocolVersion }) => encode(packet, protocolVersion)),
    )
    this.names = nastyNames(login.name)
    this.filters = this.names.filter(name => name.length > 0 && name.length < 50 && !['a/#/b', 'a+'].includes(name))
    this.topics = ['state', 'health', 'points/de/escalation'].map(kind => `faultline/v1/${login.name}/${kind}`)
  }

  next(random: Random): Buffer {
    // Most of them odd rather than wrong, or hardly any would be read: a wrong one ends its connection.
    if (random.uniform() < 0.85) return this.odd(random)
    switch (below(random, 3)) {
      case 0:
        return this.fields(random) ?? this.anywhere(random)
      case 1:
        return this.header(random)
      default:
        return this.anywhere(random)
    }
  }

  /** What the protocol allows and no client of ours sends: out of turn, with any payload, for anything. */
  private odd(random: Random): Buffer {
    const messageId = pick(random, [1, 7, 11, 1 + below(random, 65_535)])
    const qos = below(random, 3) as 0 | 1 | 2
    const flags = { dup: qos > 0 && random.uniform() < 0.3, retain: random.uniform() < 0.1, messageId }
    const topics = Array.from({ length: pick(random, [1, 1, 4]) }, () => pick(random, this.filters))
    const cmd = pick(random, [
      'puback',
      'pubrec',
      'pubrel',
      'pubcomp',
      'publish',
      'publish',
      'subscribe',
      'unsubscribe',
    ])
    switch (cmd) {
      case 'publish': {
        const payload =
          random.uniform() < 0.5 ? mutated(sample, random, [sample]) : randomBytes(random, below(random, 300))
        return encode({ cmd, topic: pick(random, this.topics), payload, qos, ...flags }, 4)
      }
      case 'subscribe':
        return encode({ cmd, messageId, subscriptions: topics.map(topic => ({ topic, qos })) }, 4)
      case 'unsubscribe':
        return encode({ cmd, messageId, unsubscriptions: topics }, 4)
      default:
        return encode({ cmd, messageId } as Packet, 4)
    }
  }

  private anywhere(random: Random): Buffer {
    return mutated(pick(random, this.encoded), random, this.encoded)
  }

  /** Another type or flag, or a length that the body does not have. */
  private header(random: Random): Buffer {
    const packet = pick(random, this.encoded)
    const body = packet.subarray(lengthEnd(packet))
    const type = pick(random, [packet[0]!, packet[0]! ^ (1 << below(random, 8)), random.word() & 0xff])
    const length = pick(random, [body.length, body.length + 1, body.length - 1, 0, 2, 127, 128, 16_384, 2_097_152])
    const encodings = [
      encodeLength(Math.max(0, length)),
      Buffer.of((body.length & 0x7f) | 0x80, 0x80 | (body.length >> 7), 0x80, 0), // More bytes than it needs.
      Buffer.of(0xff, 0xff, 0xff, 0x7f), // The longest there is.
      Buffer.of(0xff, 0xff, 0xff, 0xff, 0x01), // Longer than there may be.
    ]
    const changed = Buffer.concat([Buffer.of(type), encodings[pick(random, [0, 0, 0, 1, 1, 2, 3])]!, body])
    return changed.equals(packet) ? Buffer.concat([changed, packet.subarray(1)]) : changed
  }

  /** Undefined when the encoder would not write such a packet. */
  private fields(random: Random): Buffer | undefined {
    const packet = structuredClone(pick(random, this.packets)) as Packet & Record<string, unknown>
    const { protocolVersion } = pick(random, versions)
    const name = pick(random, this.names)
    const number = pick(random, numbers)
    const changes: (() => void)[] = [() => Object.assign(packet, { messageId: number, dup: true })]
    if (packet.cmd === 'connect') {
      const will = { topic: name, payload: randomBytes(random, 20), qos: pick(random, [0, 1, 2, 3]) as 0, retain: true }
      changes.push(
        () => Object.assign(packet, { clientId: pick(random, [name, '__proto__', 'constructor']) }),
        () => Object.assign(packet, { username: name }),
        () => Object.assign(packet, { password: randomBytes(random, below(random, 40)) }),
        () => Object.assign(packet, { will }),
        () => Object.assign(packet, { keepalive: number, clean: false }),
        () => Object.assign(packet, { protocolVersion: number }),
      )
    }
    if (packet.cmd === 'publish') {
      const payload = randomBytes(random, pick(random, [0, 1, 2_000]))
      changes.push(
        () => Object.assign(packet, { topic: name }),
        () => Object.assign(packet, { payload, retain: true }),
        () => Object.assign(packet as IPublishPacket, { qos: pick(random, [0, 1, 2, 3]) }),
        () => Object.assign(packet as IPublishPacket, { properties: { topicAlias: number, contentType: name } }),
      )
    }
    if (packet.cmd === 'subscribe') {
      const { subscriptions } = packet
      changes.push(
        () => Object.assign(subscriptions[0]!, { topic: name }),
        () => Object.assign(subscriptions[0]!, { qos: number }),
        () => subscriptions.push(...this.filters.map(topic => ({ topic, qos: 1 as const }))),
        () => subscriptions.splice(0),
      )
    }
    if (packet.cmd === 'unsubscribe') {
      changes.push(
        () => Object.assign(packet, { unsubscriptions: [name, name, ...this.filters] }),
        () => Object.assign(packet, { unsubscriptions: [] }),
      )
    }
    pick(random, changes)()
    let bytes: Buffer
    try {
      bytes = encode(packet, protocolVersion)
    } catch {
      return undefined
    }
    return bytes.length === 0 || this.encoded.some(valid => valid.equals(bytes)) ? undefined : bytes
  }
}

function encode(packet: Packet, protocolVersion: number): Buffer {
  const options = { protocolVersion: packet.cmd === 'auth' ? 5 : protocolVersion }
  return Buffer.from(generate(packet, packet.cmd === 'connect' ? undefined : options))
}

/** Where the body of a packet begins (MQTT 3.1.1, 2.2.3). */
function lengthEnd(packet: Buffer): number {
  let end = 1
  while (packet[end++]! >= 0x80);
  return end
}

function encodeLength(length: number): Buffer {
  const bytes: number[] = []
  let rest = length
  do {
    bytes.push((rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
    rest >>= 7
  } while (rest > 0)
  return Buffer.from(bytes)
}
