import type { Subscription } from 'aedes'
import QlobberSub from 'qlobber/aedes/qlobber-sub.js'
import type { StoredSubscription } from '../persistence/subscriptions.ts'

/** A change of the subscriptions in Redis, as its script announces it to every broker. */
export interface SubscriptionChange {
  version: number
  client: string
  added?: [filter: string, options: string][]
  removed?: string[]
}

/**
 * The subscriptions of all stored sessions, as far as this broker has heard of changes. A message is stored under the
 * version it was matched with, and Redis refuses one that is behind: so none misses a subscription that another broker has
 * acknowledged.
 */
export class SubscriptionIndex {
  private tree = emptyTree()
  private filters = new Map<string, Map<string, StoredSubscription>>()
  private at = 0

  get version(): number {
    return this.at
  }

  /** Those above QoS 0: Aedes leaves the others to live delivery. */
  get count(): number {
    return this.tree.subscriptionsCount
  }

  /** Takes the answer of the script `subscriptions`. */
  load([version, ...rest]: readonly string[]): void {
    this.tree = emptyTree()
    this.filters = new Map()
    for (let i = 0; i + 2 < rest.length; i += 3) this.add(rest[i]!, rest[i + 1]!, rest[i + 2]!)
    this.at = Number(version)
  }

  /** False when a change before this one was missed. */
  apply({ version, client, added = [], removed = [] }: SubscriptionChange): boolean {
    if (version <= this.at) return true
    if (version > this.at + 1) return false
    for (const filter of removed) this.remove(client, filter)
    for (const [filter, options] of added) this.add(client, filter, options)
    this.at = version
    return true
  }

  matching(topic: string): StoredSubscription[] {
    return this.tree.match(topic)
  }

  clientsOf(filter: string): string[] {
    return [...this.filters].filter(([, filters]) => filters.has(filter)).map(([client]) => client)
  }

  clients(): string[] {
    return [...this.filters.keys()]
  }

  private add(client: string, filter: string, options: string): void {
    this.remove(client, filter)
    const subscription: StoredSubscription = { clientId: client, topic: filter, ...JSON.parse(options) }
    const filters = this.filters.get(client) ?? new Map<string, StoredSubscription>()
    this.filters.set(client, filters.set(filter, subscription))
    if (subscription.qos > 0) this.tree.add(filter, subscription)
  }

  private remove(client: string, filter: string): void {
    const filters = this.filters.get(client)
    const subscription = filters?.get(filter)
    if (!filters || !subscription) return
    filters.delete(filter)
    if (filters.size === 0) this.filters.delete(client)
    if (subscription.qos > 0) this.tree.remove(filter, subscription)
  }
}

/** What Redis keeps of a subscription. */
export const optionsOf = ({ topic: _, ...options }: Subscription): string => JSON.stringify(options)

const emptyTree = (): QlobberSub =>
  new QlobberSub({
    wildcard_one: '+',
    wildcard_some: '#',
    separator: '/',
    match_empty_levels: true, // MQTT 3.1.1, 4.7.1-3
  })
