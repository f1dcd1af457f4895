import type { DatabaseSync, StatementSync } from '@faultline/runtime'
import type { Subscription } from 'aedes'
import QlobberSub from 'qlobber/aedes/qlobber-sub.js'

/** A subscription of a stored session, as Aedes wants it back. */
export type StoredSubscription = Subscription & { clientId: string }

interface Row {
  client: string
  topic: string
  qos: number
  options: string
}

/** Subscriptions of stored sessions: in a table, and in a tree to match topics against. */
export class SubscriptionTable {
  /** Aedes leaves what a client is to get at QoS 0 to live delivery, so the tree has only the others. */
  private readonly tree = new QlobberSub({
    wildcard_one: '+',
    wildcard_some: '#',
    separator: '/',
    match_empty_levels: true, // MQTT 3.1.1, 4.7.1-3
  })
  private readonly statements: Record<'put' | 'remove' | 'get' | 'ofClient' | 'all' | 'clients', StatementSync>

  constructor(database: DatabaseSync) {
    this.statements = {
      put: database.prepare('INSERT OR REPLACE INTO subscriptions (client, topic, qos, options) VALUES (?, ?, ?, ?)'),
      remove: database.prepare('DELETE FROM subscriptions WHERE client = ? AND topic = ?'),
      get: database.prepare('SELECT client, topic, qos, options FROM subscriptions WHERE client = ? AND topic = ?'),
      ofClient: database.prepare('SELECT client, topic, qos, options FROM subscriptions WHERE client = ?'),
      all: database.prepare('SELECT client, topic, qos, options FROM subscriptions ORDER BY client'),
      clients: database.prepare('SELECT DISTINCT client FROM subscriptions WHERE topic = ? ORDER BY client'),
    }
    this.restore()
  }

  /** Takes the tree from the table, at the start and after a transaction that came to nothing. */
  restore(): void {
    // Read first: without a tree, messages would be acknowledged that no session has.
    const rows = this.rows('all')
    this.tree.clear()
    for (const row of rows) this.grow(row)
  }

  add(client: string, { topic, qos, ...options }: Subscription): void {
    this.remove(client, topic)
    const row = { client, topic, qos, options: JSON.stringify(options) }
    this.statements.put.run(client, topic, qos, row.options)
    this.grow(row)
  }

  remove(client: string, topic: string): void {
    const [row] = this.rows('get', client, topic)
    if (!row) return
    this.statements.remove.run(client, topic)
    if (row.qos > 0) this.tree.remove(topic, subscriptionOf(row))
  }

  has(client: string): boolean {
    return this.rows('ofClient', client).length > 0
  }

  ofClient(client: string): Subscription[] {
    return this.rows('ofClient', client).map(row => {
      const { clientId: _, ...subscription } = subscriptionOf(row)
      return subscription
    })
  }

  /** Those above QoS 0 whose filter matches a topic. */
  matching(topic: string): StoredSubscription[] {
    return this.tree.match(topic)
  }

  clientsOf(topic: string): string[] {
    return this.rows('clients', topic).map(({ client }) => client)
  }

  clients(): Set<string> {
    return new Set(this.rows('all').map(({ client }) => client))
  }

  count(): { subsCount: number; clientsCount: number } {
    return { subsCount: this.tree.subscriptionsCount, clientsCount: this.clients().size }
  }

  private rows(name: keyof SubscriptionTable['statements'], ...parameters: string[]): Row[] {
    return this.statements[name].all(...parameters) as unknown as Row[]
  }

  private grow(row: Row): void {
    if (row.qos > 0) this.tree.add(row.topic, subscriptionOf(row))
  }
}

const subscriptionOf = ({ client, topic, qos, options }: Row): StoredSubscription => ({
  clientId: client,
  topic,
  qos: qos as Subscription['qos'],
  ...JSON.parse(options),
})
