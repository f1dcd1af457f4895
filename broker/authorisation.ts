import { type Identity, isAllowed } from '@faultline/protocol'
import { readFilter } from './shared-subscriptions.ts'

/** Whether an identity may publish to a topic, now or as its will. */
export function mayPublish(identity: Identity, topic: string): boolean {
  // MQTT 3.1.1, 4.7.2: topics that begin with "$" are the server's own, whatever the table of rules may come to say.
  return !topic.startsWith('$') && isAllowed(identity, 'publish', topic)
}

/** Whether an identity may subscribe to a filter; a share of a filter asks for the same right as the filter. */
export function maySubscribe(identity: Identity, filter: string): boolean {
  const read = readFilter(filter)
  return read !== undefined && isAllowed(identity, 'subscribe', read.filter)
}

/**
 * Whether a message may be handed to an identity. The check at SUBSCRIBE is not enough: a stored session may hold
 * messages for a filter that was refused beside one that was granted, or that the rules no longer give.
 */
export const mayReceive = (identity: Identity, topic: string): boolean => isAllowed(identity, 'subscribe', topic)
