import { FaultlineError } from './errors.ts'
import { checkIdentifier, identifierPattern } from './identifiers.ts'

export const roles = ['device', 'server', 'recorder', 'flows', 'operator', 'site'] as const
export type Role = (typeof roles)[number]

/**
 * Who connects. The name is the MQTT user name; for devices and servers it is also the client id and the stem of the
 * topics they own (`faultline/v1/{name}/…`), so one string is identity, session and permission.
 */
export interface Identity {
  role: Role
  /** `devices/{site}/{device}`, `servers/{server}`, `recorders/{id}`, `flows/{id}`, `operators/{id}`, `sites/{site}`. */
  name: string
  /** Only for a device. */
  site?: string
  /** Last level of the name: device, server, recorder, … */
  id: string
}

const stems: Record<Exclude<Role, 'device'>, string> = {
  server: 'servers',
  recorder: 'recorders',
  flows: 'flows',
  operator: 'operators',
  site: 'sites',
}

/** Builds an identity. Throws `IDENTIFIER_INVALID`. */
export function identityOf(role: 'device', site: string, id: string): Identity
export function identityOf(role: Exclude<Role, 'device'>, id: string): Identity
export function identityOf(role: Role, siteOrId: string, device?: string): Identity {
  if (role === 'device') {
    const site = checkIdentifier(siteOrId, 'site')
    const id = checkIdentifier(device ?? '', 'device')
    return { role, name: `devices/${site}/${id}`, site, id }
  }
  const id = checkIdentifier(siteOrId, role)
  return { role, name: `${stems[role]}/${id}`, id }
}

/** Reads an identity from its name; throws `IDENTIFIER_INVALID`. */
export function parseIdentity(name: string): Identity {
  const [stem, first, second, ...rest] = name.split('/')
  const valid = (level: string | undefined): level is string => level !== undefined && identifierPattern.test(level)
  if (rest.length === 0 && valid(first)) {
    if (stem === 'devices' && valid(second)) return identityOf('device', first, second)
    const role = (Object.keys(stems) as Exclude<Role, 'device'>[]).find(candidate => stems[candidate] === stem)
    if (role && second === undefined) return identityOf(role, first)
  }
  throw new FaultlineError(
    'IDENTIFIER_INVALID',
    `"${name.slice(0, 200)}" is not a name such as devices/plant-a/press-3 or operators/anna`,
  )
}
