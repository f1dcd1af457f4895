import { FaultlineError } from '@faultline/protocol'
import type { Person } from '../access/sessions.ts'
import type { NodeMessage } from './node-red.ts'

/** Who sent a message from a page of the dashboard: whose browser it was, whatever that said. */
export const personOf = ({ user }: NodeMessage): Partial<Person> | undefined =>
  typeof user === 'object' && user !== null ? user : undefined

/** Throws `NOT_ALLOWED` where a viewer asks for more than to be shown something. */
export function refuseViewers(message: NodeMessage): void {
  const person = personOf(message)
  if (person?.role === 'viewer') throw new FaultlineError('NOT_ALLOWED', `${person.name} may look, but not change`)
}
