import { type Role, roles } from '@faultline/protocol'
import { InvalidArgumentError } from '@faultline/runtime'

export function parseRole(text: string): Role {
  if ((roles as readonly string[]).includes(text)) return text as Role
  throw new InvalidArgumentError(`Give one of ${roles.join(', ')}.`)
}

export function parseBrokerUrl(text: string): string {
  if (/^(mqtts?|wss?):$/.test(URL.canParse(text) ? new URL(text).protocol : '')) return text
  throw new InvalidArgumentError('Give an address such as mqtt://broker.local:1883.')
}
