import { accessRules, covers } from './access.ts'
import { isCbor } from './codec.ts'
import { contractVersion } from './contract.ts'
import { examples } from './examples.ts'
import { identifierPattern } from './identifiers.ts'
import { type Role, roles } from './identity.ts'
import { type JsonSchema, payloadJsonSchema } from './json-schema.ts'
import { delivery, type TopicKind, topicFilter, topicKinds, topicTemplates } from './topics.ts'

/** What each kind of message is for, in one sentence. */
export const meanings: Record<TopicKind, string> = {
  state: 'What a device is and runs. Retained; the offline form is also its will.',
  health: 'Counters, queues and round trips of a device, every few seconds.',
  'config-desired': 'What an operator wants a device to run with.',
  'config-reported': 'What a device runs with, and whether it took the last change.',
  command: 'Something a device shall do once.',
  'command-result': 'What came of a command.',
  'update-offer': 'A model or an agent that a device should run. Retained; an empty payload takes it back.',
  'update-request': 'A part of what was offered that a device wants next.',
  'update-chunk': 'A piece of what was offered.',
  'update-status': 'How far a device is with what was offered. Retained.',
  inference: "A device's final answer for one window.",
  summary: 'What happened at a point over an interval, in place of the inferences that were not published.',
  escalation: 'A raw window the device is not sure of, on its way to a server agent.',
  verdict: "The server agent's answer to one escalation: a classification, or why there is none.",
  'upstream-escalation':
    'The same, from a server agent that is not sure either: a bridge takes it to the broker above.',
  'upstream-verdict': 'The answer from there, on its way to the server agent that asked.',
  evidence: 'What verdicts taught a device about its local model on machines of one type, in sums that add up.',
  pool: 'The same of all devices with machines of that type: what a new device begins with.',
  'server-state': 'What a server agent is, runs and carries. Retained; the offline form is also its will.',
  alarm: 'One alarm per machine and fault, as it stands now.',
  rollout: 'How far a rollout is. Retained.',
  'rollout-command': 'Something to do with a rollout: start, pause, resume or abort it.',
  'rollout-result': 'What came of that.',
  'rollout-service': 'What runs rollouts, and what it can roll out. Retained; the offline form is also its will.',
}

const parameterMeanings: Record<string, string> = {
  site: 'A plant; owns devices and machines',
  device: 'One device agent',
  point: 'A measurement point: one sensor on one machine',
  machineType: 'What machines are alike, in the words of the configuration',
  model: 'A local model, by the first 12 digits of its digest',
  evidence: 'A kind of evidence',
  server: 'One server agent',
  machine: 'What breaks; alarms belong to a machine',
  fault: 'A class of the task that is not normal',
  rollout: 'One rollout',
  service: 'What runs rollouts, by the name of its operator identity',
}

export const contentTypeOf = (kind: TopicKind): string => (isCbor(kind) ? 'application/cbor' : 'application/json')

/** A role that may use the messages of a kind; `own` when only those under its own name. */
export interface Party {
  role: Role
  own: boolean
}

/** Which roles may publish, or read, every message of a kind, from the access rules. */
export function partiesOf(kind: TopicKind, access: 'publish' | 'subscribe'): Party[] {
  const filter = topicFilter(kind)
  const anyName: Partial<Record<Role, string>> = { device: 'devices/+/+', server: 'servers/+' }
  return roles.flatMap(role => {
    const rule = accessRules[role][access].find(candidate =>
      covers(candidate.replace('{self}', anyName[role] ?? '{self}').replace('{id}', '+'), filter),
    )
    return rule ? [{ role, own: rule.includes('{') }] : []
  })
}

const camelCase = (kind: string): string => kind.replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
const capitalised = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)

/** The contract as an AsyncAPI 3.0.0 document: channels, operations, messages and MQTT bindings. */
export function asyncApiDocument(): Record<string, unknown> {
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Faultline MQTT contract',
      version: `${contractVersion}.0`,
      description:
        'Hierarchical inference for machine faults over MQTT 3.1.1. Generated from the schemas in protocol/ by ' +
        '`npm run docs`; do not edit.',
      license: { name: 'MIT' },
    },
    defaultContentType: 'application/json',
    servers: {
      broker: {
        host: '{host}:{port}',
        protocol: 'mqtt',
        protocolVersion: '3.1.1',
        description: 'Any MQTT 3.1.1 broker with shared subscriptions and the access rules of the topic reference',
        variables: { host: { default: 'localhost' }, port: { default: '1883' } },
        security: [{ $ref: '#/components/securitySchemes/identity' }],
      },
    },
    channels: Object.fromEntries(topicKinds.map(kind => [camelCase(kind), channel(kind)])),
    operations: Object.assign({}, ...topicKinds.map(operations)) as Record<string, unknown>,
    components: {
      messages: Object.fromEntries(topicKinds.map(kind => [camelCase(kind), message(kind)])),
      schemas: Object.fromEntries(topicKinds.map(kind => [camelCase(kind), described(kind)])),
      securitySchemes: {
        identity: {
          type: 'userPassword',
          description: 'The user name is the identity, such as devices/plant-a/press-3; the password is its secret.',
        },
      },
    },
  }
}

function channel(kind: TopicKind): Record<string, unknown> {
  const names = [...topicTemplates[kind].matchAll(/\{(\w+)\}/g)].map(match => match[1]!)
  return {
    address: topicTemplates[kind],
    description: meanings[kind],
    parameters: Object.fromEntries(
      names.map(name => [
        name,
        {
          description: `${parameterMeanings[name]}. Matches ${identifierPattern.source}`,
          examples: [nameOf(kind, name)],
        },
      ]),
    ),
    messages: { [camelCase(kind)]: { $ref: `#/components/messages/${camelCase(kind)}` } },
  }
}

const nameOf = (kind: TopicKind, name: string): string =>
  (examples[kind].address as unknown as Record<string, string>)[name]!

/** The document takes nobody's side: each kind has an operation for those who publish and one for those who read. */
function operations(kind: TopicKind): Record<string, unknown> {
  const operation = (action: 'send' | 'receive', access: 'publish' | 'subscribe') => ({
    action,
    channel: { $ref: `#/channels/${camelCase(kind)}` },
    summary: `${action === 'send' ? 'Published' : 'Read'} by ${sentenceOf(partiesOf(kind, access))}`,
    messages: [{ $ref: `#/channels/${camelCase(kind)}/messages/${camelCase(kind)}` }],
    bindings: {
      mqtt: {
        qos: delivery[kind].qos,
        ...(action === 'send' && { retain: delivery[kind].retain }),
        bindingVersion: '0.2.0',
      },
    },
  })
  return {
    [`publish${capitalised(camelCase(kind))}`]: operation('send', 'publish'),
    [`read${capitalised(camelCase(kind))}`]: operation('receive', 'subscribe'),
  }
}

/** "device (own), recorder, flows" */
export const sentenceOf = (parties: readonly Party[]): string =>
  parties.map(party => (party.own ? `${party.role} (own)` : party.role)).join(', ')

function message(kind: TopicKind): Record<string, unknown> {
  return {
    name: kind,
    title: kind,
    summary: meanings[kind],
    contentType: contentTypeOf(kind),
    payload: { $ref: `#/components/schemas/${camelCase(kind)}` },
    examples: [{ name: 'example', payload: asJson(examples[kind].payload) }],
  }
}

const described = (kind: TopicKind): JsonSchema => ({ description: meanings[kind], ...payloadJsonSchema(kind) })

/** Plain JSON values; bytes as base64url, the form RFC 8949, 6.1 gives a CBOR byte string in JSON. */
export function asJson(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64url')
  if (Array.isArray(value)) return value.map(asJson)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, asJson(part)]))
}
