import { checkIdentifier, identifierPattern } from './identifiers.ts'

/** Every topic of the contract starts here; an incompatible change gets a new version. */
export const topicRoot = 'faultline/v1'

type DeviceTopic =
  | 'state'
  | 'health'
  | 'config-desired'
  | 'config-reported'
  | 'command'
  | 'command-result'
  | 'update-offer'
  | 'update-request'
  | 'update-chunk'
  | 'update-status'
type RolloutTopic = 'rollout' | 'rollout-command' | 'rollout-result'
type PointTopic = 'inference' | 'summary' | 'escalation' | 'verdict' | 'upstream-escalation' | 'upstream-verdict'

/** Where a message belongs, read from its topic. One member for each kind, so that a kind selects its address. */
export type TopicAddress =
  | { [K in DeviceTopic]: { kind: K; site: string; device: string } }[DeviceTopic]
  | { [K in PointTopic]: { kind: K; site: string; device: string; point: string } }[PointTopic]
  | { [K in RolloutTopic]: { kind: K; rollout: string } }[RolloutTopic]
  | { kind: 'rollout-service'; service: string }
  | { kind: 'evidence'; site: string; device: string; machineType: string }
  | { kind: 'pool'; model: string; machineType: string; evidence: string }
  | { kind: 'server-state'; server: string }
  | { kind: 'alarm'; site: string; machine: string; fault: string }

export type TopicNames = Partial<
  Record<
    | 'site'
    | 'device'
    | 'point'
    | 'machineType'
    | 'model'
    | 'evidence'
    | 'server'
    | 'machine'
    | 'fault'
    | 'rollout'
    | 'service',
    string
  >
>

export type TopicKind = TopicAddress['kind']

/** Topic templates by kind; `{name}` stands for one identifier. */
export const topicTemplates: Record<TopicKind, string> = {
  state: `${topicRoot}/devices/{site}/{device}/state`,
  health: `${topicRoot}/devices/{site}/{device}/health`,
  'config-desired': `${topicRoot}/devices/{site}/{device}/config/desired`,
  'config-reported': `${topicRoot}/devices/{site}/{device}/config/reported`,
  command: `${topicRoot}/devices/{site}/{device}/command`,
  'command-result': `${topicRoot}/devices/{site}/{device}/command/result`,
  'update-offer': `${topicRoot}/devices/{site}/{device}/update/offer`,
  'update-request': `${topicRoot}/devices/{site}/{device}/update/request`,
  'update-chunk': `${topicRoot}/devices/{site}/{device}/update/chunk`,
  'update-status': `${topicRoot}/devices/{site}/{device}/update/status`,
  inference: `${topicRoot}/devices/{site}/{device}/points/{point}/inference`,
  summary: `${topicRoot}/devices/{site}/{device}/points/{point}/summary`,
  escalation: `${topicRoot}/devices/{site}/{device}/points/{point}/escalation`,
  verdict: `${topicRoot}/devices/{site}/{device}/points/{point}/verdict`,
  evidence: `${topicRoot}/devices/{site}/{device}/evidence/{machineType}`,
  pool: `${topicRoot}/pools/{model}/{machineType}/{evidence}`,
  'upstream-escalation': `${topicRoot}/upstream/devices/{site}/{device}/points/{point}/escalation`,
  'upstream-verdict': `${topicRoot}/upstream/devices/{site}/{device}/points/{point}/verdict`,
  'server-state': `${topicRoot}/servers/{server}/state`,
  alarm: `${topicRoot}/alarms/{site}/{machine}/{fault}`,
  rollout: `${topicRoot}/rollouts/{rollout}`,
  'rollout-command': `${topicRoot}/rollouts/{rollout}/command`,
  'rollout-result': `${topicRoot}/rollouts/{rollout}/result`,
  'rollout-service': `${topicRoot}/rollout-services/{service}`,
}

export const topicKinds = Object.keys(topicTemplates) as TopicKind[]

/** The topic of an address. Throws `IDENTIFIER_INVALID` for a name that could break out of its level. */
export function topicOf(address: TopicAddress): string {
  const names = address as unknown as Record<string, string>
  return topicTemplates[address.kind].replace(/\{(\w+)\}/g, (_, name: string) =>
    checkIdentifier(names[name] ?? '', name),
  )
}

/**
 * A topic filter for messages of a kind: names given are matched exactly, names left out by `+`.
 * @example topicFilter('inference', { site: 'plant-a' }) // faultline/v1/devices/plant-a/+/points/+/inference
 */
export function topicFilter(kind: TopicKind, names: TopicNames = {}): string {
  return topicTemplates[kind].replace(/\{(\w+)\}/g, (_, name: string) => {
    const value = names[name as keyof TopicNames]
    return value === undefined ? '+' : checkIdentifier(value, name)
  })
}

/** The same filter shared by a group, so that each message goes to one member (MQTT 5, 4.8.2). */
export const sharedFilter = (group: string, filter: string): string => `$share/${group}/${filter}`

const templateLevels = topicKinds.map(kind => ({ kind, levels: topicTemplates[kind].split('/') }))

/** Reads a topic of the contract; undefined for any other. */
export function parseTopic(topic: string): TopicAddress | undefined {
  const levels = topic.split('/')
  for (const template of templateLevels) {
    const address = matchLevels(template.levels, levels)
    if (address) return { kind: template.kind, ...address } as TopicAddress
  }
  return undefined
}

function matchLevels(template: readonly string[], levels: readonly string[]): Record<string, string> | undefined {
  if (template.length !== levels.length) return undefined
  const names: Record<string, string> = {}
  for (let i = 0; i < template.length; i++) {
    const expected = template[i]!
    const level = levels[i]!
    if (expected.startsWith('{')) {
      if (!identifierPattern.test(level)) return undefined
      names[expected.slice(1, -1)] = level
    } else if (expected !== level) return undefined
  }
  return names
}

/** Quality of service and retain flag the contract prescribes for each kind. */
export const delivery: Record<TopicKind, { qos: 0 | 1; retain: boolean }> = {
  state: { qos: 1, retain: true },
  health: { qos: 0, retain: false },
  'config-desired': { qos: 1, retain: true },
  'config-reported': { qos: 1, retain: true },
  command: { qos: 1, retain: false },
  'command-result': { qos: 1, retain: false },
  'update-offer': { qos: 1, retain: true },
  'update-request': { qos: 1, retain: false },
  'update-chunk': { qos: 1, retain: false },
  'update-status': { qos: 1, retain: true },
  inference: { qos: 1, retain: false },
  summary: { qos: 1, retain: false },
  escalation: { qos: 1, retain: false },
  verdict: { qos: 1, retain: false },
  evidence: { qos: 1, retain: true },
  pool: { qos: 1, retain: true },
  'upstream-escalation': { qos: 1, retain: false },
  'upstream-verdict': { qos: 1, retain: false },
  'server-state': { qos: 1, retain: true },
  alarm: { qos: 1, retain: true },
  rollout: { qos: 1, retain: true },
  'rollout-command': { qos: 1, retain: false },
  'rollout-result': { qos: 1, retain: false },
  'rollout-service': { qos: 1, retain: true },
}
