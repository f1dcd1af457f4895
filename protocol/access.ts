import type { Identity, Role } from './identity.ts'
import { parseTopic, topicRoot } from './topics.ts'

/** Filters a role may use; `{self}` is the identity's own name, `{id}` the last level of it. */
export interface AccessRules {
  publish: readonly string[]
  subscribe: readonly string[]
}

const own = `${topicRoot}/{self}`
const anyDevice = `${topicRoot}/devices/+/+`
const upstreamDevice = `${topicRoot}/upstream/devices/+/+`

/** Who may publish and read what: the one table that every broker's access control is made from. */
export const accessRules: Record<Role, AccessRules> = {
  device: {
    publish: [
      `${own}/state`,
      `${own}/health`,
      `${own}/config/reported`,
      `${own}/command/result`,
      `${own}/update/request`,
      `${own}/update/status`,
      `${own}/points/+/inference`,
      `${own}/points/+/summary`,
      `${own}/points/+/escalation`,
      `${own}/evidence/+`,
    ],
    // The servers' announced load is part of what an escalation costs, and pools are what a new device begins with.
    subscribe: [
      `${own}/config/desired`,
      `${own}/command`,
      `${own}/update/offer`,
      `${own}/update/chunk`,
      `${own}/points/+/verdict`,
      `${topicRoot}/servers/+/state`,
      `${topicRoot}/pools/+/+/+`,
    ],
  },
  server: {
    publish: [
      `${own}/state`,
      `${anyDevice}/points/+/verdict`,
      `${topicRoot}/pools/+/+/+`,
      `${upstreamDevice}/points/+/escalation`,
    ],
    subscribe: [
      `${anyDevice}/points/+/escalation`,
      `${anyDevice}/evidence/+`,
      `${topicRoot}/pools/+/+/+`,
      `${upstreamDevice}/points/+/verdict`,
    ],
  },
  recorder: {
    publish: [],
    subscribe: [
      `${anyDevice}/state`,
      `${anyDevice}/health`,
      `${anyDevice}/config/reported`,
      `${anyDevice}/command/result`,
      `${anyDevice}/update/status`,
      `${anyDevice}/points/+/inference`,
      `${anyDevice}/points/+/summary`,
      `${anyDevice}/points/+/verdict`,
      `${topicRoot}/servers/+/state`,
      `${topicRoot}/alarms/+/+/+`,
    ],
  },
  flows: {
    publish: [
      `${anyDevice}/config/desired`,
      `${anyDevice}/command`,
      `${topicRoot}/alarms/+/+/+`,
      // Of what a rollout service has, and through it alone: offers and chunks are for operators.
      `${topicRoot}/rollouts/+/command`,
    ],
    subscribe: [`${topicRoot}/#`, '$SYS/#'],
  },
  operator: {
    publish: [
      `${anyDevice}/config/desired`,
      `${anyDevice}/command`,
      `${anyDevice}/update/offer`,
      `${anyDevice}/update/chunk`,
      `${topicRoot}/rollouts/+`,
      `${topicRoot}/rollouts/+/command`,
      `${topicRoot}/rollouts/+/result`,
      `${topicRoot}/rollout-services/{id}`,
    ],
    subscribe: [`${topicRoot}/#`, '$SYS/#'],
  },
  // The bridge of a site: with the broker above it speaks for the site's devices, with its own for the servers above.
  site: {
    publish: [
      `${topicRoot}/devices/{id}/+/points/+/escalation`,
      `${topicRoot}/upstream/devices/{id}/+/points/+/verdict`,
    ],
    subscribe: [
      `${topicRoot}/devices/{id}/+/points/+/verdict`,
      `${topicRoot}/upstream/devices/{id}/+/points/+/escalation`,
    ],
  },
}

/** A rule as it holds for one identity. */
export const ruleFor = (rule: string, { name, id }: Pick<Identity, 'name' | 'id'>): string =>
  rule.replace('{self}', name).replace('{id}', id)

export type Access = 'publish' | 'subscribe'

/** Whether an identity may publish to a topic, or subscribe to a filter (without its `$share/group/` part). */
export function isAllowed(identity: Identity, access: Access, topicOrFilter: string): boolean {
  // Only topics of the contract, whose names are identifiers: no wildcard, which would fit rules it must not, nothing
  // below "$", and no names without end that are kept as retained messages.
  if (access === 'publish' && !parseTopic(topicOrFilter)) return false
  return accessRules[identity.role][access].some(rule => covers(ruleFor(rule, identity), topicOrFilter))
}

/**
 * True when every topic that `requested` (a topic or a filter) matches is matched by `granted` too.
 * MQTT 3.1.1, 4.7: `+` is one level, `#` is that level and all below; neither matches a first level that begins with `$`.
 */
export function covers(granted: string, requested: string): boolean {
  const grantedLevels = granted.split('/')
  const requestedLevels = requested.split('/')
  if (requested.startsWith('$') && /^[+#]/.test(granted)) return false
  for (let i = 0; i < grantedLevels.length; i++) {
    const level = grantedLevels[i]
    if (level === '#') return true
    const other = requestedLevels[i]
    if (other === undefined || other === '#') return false
    if (level !== '+' && level !== other) return false
  }
  return requestedLevels.length === grantedLevels.length
}
