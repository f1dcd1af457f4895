import { type Identity, isAllowed } from '@faultline/protocol'
import { readFilter } from './shared-subscriptions.ts'

/** Whether an identity may publish to a topic, now or as its will. */
export const mayPublish = (identity: Identity, topic: string): boolean => isAllowed(identity, 'publish', topic)

/** Whether an identity may subscribe to a filter; a share of a filter asks for the same right as the filter. */
export function maySubscribe(identity: Identity, filter: string): boolean {
  const read = readFilter(filter)
  return read !== undefined && isAllowed(identity, 'subscribe', read.filter)
}
