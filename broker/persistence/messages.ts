import { covers } from '@faultline/protocol'
import type { DatabaseSync, StatementSync } from '@faultline/runtime'
import type { AedesPublishPacket } from 'aedes'
import { payloadOf } from './queues.ts'

type Message = Pick<AedesPublishPacket, 'topic' | 'payload' | 'qos' | 'retain'>

interface Row {
  topic: string
  payload: string | Uint8Array
  qos: number
  retain: number
}

const messageOf = ({ topic, payload, qos, retain }: Row): Message => ({
  topic,
  payload: payloadOf(payload),
  qos: qos as 0 | 1 | 2,
  retain: retain === 1,
})

/** The last retained message of each topic (MQTT 3.1.1, 3.3.1.3). */
export class RetainedTable {
  private readonly put: StatementSync
  private readonly remove: StatementSync
  private readonly find: StatementSync
  private readonly page: StatementSync
  private readonly counts: StatementSync

  constructor(database: DatabaseSync) {
    this.put = database.prepare('INSERT OR REPLACE INTO retained (topic, payload, qos) VALUES (?, ?, ?)')
    this.remove = database.prepare('DELETE FROM retained WHERE topic = ?')
    this.find = database.prepare('SELECT topic, payload, qos, 1 AS retain FROM retained WHERE topic = ?')
    this.page = database.prepare('SELECT topic FROM retained WHERE topic > ? AND topic < ? ORDER BY topic LIMIT 500')
    this.counts = database.prepare('SELECT count(*) AS topics FROM retained')
  }

  get size(): number {
    return (this.counts.get() as { topics: number }).topics
  }

  /** An empty payload clears the topic. */
  store({ topic, payload, qos }: Message): void {
    if (payload.length === 0) this.remove.run(topic)
    else this.put.run(topic, payload, qos)
  }

  /**
   * Those whose topics a filter matches, each as it is when it is asked for; only topics that begin as the filter does are
   * looked at, a page in a turn of the event loop.
   */
  async *matching(filter: string): AsyncGenerator<AedesPublishPacket> {
    const wildcard = /[+#]/.exec(filter)
    const prefix = filter.slice(0, wildcard?.index ?? filter.length)
    if (!wildcard || filter.endsWith('/#')) {
      // "a/#" matches "a" too (MQTT 3.1.1, 4.7.1.2).
      const packet = this.get(wildcard ? prefix.slice(0, -1) : filter)
      if (packet && covers(filter, packet.topic)) yield packet
      if (!wildcard) return
    }
    let after = prefix
    for (;;) {
      const topics = this.page.all(after, `${prefix}\u{10ffff}`) as unknown as { topic: string }[]
      for (const { topic } of topics) {
        const packet = covers(filter, topic) ? this.get(topic) : undefined
        if (packet) yield packet
      }
      if (topics.length === 0) return
      after = topics.at(-1)!.topic
      await new Promise(setImmediate)
    }
  }

  private get(topic: string): AedesPublishPacket | undefined {
    const row = this.find.get(topic) as unknown as Row | undefined
    return row && ({ cmd: 'publish', ...messageOf(row) } as AedesPublishPacket)
  }
}

/** Messages of QoS 2 that were taken and not yet released (MQTT 3.1.1, 4.3.3), so that none is taken twice. */
export class IncomingTable {
  private readonly put: StatementSync
  private readonly find: StatementSync
  private readonly remove: StatementSync
  private readonly removeAll: StatementSync
  private readonly first: StatementSync
  private readonly all: StatementSync

  constructor(database: DatabaseSync) {
    this.put = database.prepare(
      'INSERT OR REPLACE INTO incoming (client, message_id, topic, payload, qos, retain) VALUES (?, ?, ?, ?, ?, ?)',
    )
    this.find = database.prepare('SELECT topic, payload, qos, retain FROM incoming WHERE client = ? AND message_id = ?')
    this.remove = database.prepare('DELETE FROM incoming WHERE client = ? AND message_id = ?')
    this.removeAll = database.prepare('DELETE FROM incoming WHERE client = ?')
    this.all = database.prepare('SELECT DISTINCT client FROM incoming')
    this.first = database.prepare('SELECT 1 FROM incoming WHERE client = ? LIMIT 1')
  }

  store(client: string, messageId: number, { topic, payload, qos, retain }: Message): void {
    this.put.run(client, messageId, topic, payload, qos, Number(retain))
  }

  get(client: string, messageId: number): AedesPublishPacket | undefined {
    const row = this.find.get(client, messageId) as unknown as Row | undefined
    return row && ({ cmd: 'publish', ...messageOf(row), dup: false, messageId } as AedesPublishPacket)
  }

  delete(client: string, messageId: number): void {
    this.remove.run(client, messageId)
  }

  has(client: string): boolean {
    return this.first.get(client) !== undefined
  }

  clear(client: string): void {
    this.removeAll.run(client)
  }

  clients(): string[] {
    return (this.all.all() as { client: string }[]).map(({ client }) => client)
  }
}

export type Will = Message & { brokerId?: string | undefined; clientId: string }

/** Wills of those who are connected: a broker that takes over from one that was killed publishes them. */
export class WillTable {
  private readonly store: StatementSync
  private readonly find: StatementSync
  private readonly remove: StatementSync
  private readonly all: StatementSync

  constructor(database: DatabaseSync) {
    const columns = 'client, broker_id, topic, payload, qos, retain'
    this.store = database.prepare(`INSERT OR REPLACE INTO wills (${columns}) VALUES (?, ?, ?, ?, ?, ?)`)
    this.find = database.prepare(`SELECT ${columns} FROM wills WHERE client = ?`)
    this.remove = database.prepare('DELETE FROM wills WHERE client = ?')
    this.all = database.prepare(`SELECT ${columns} FROM wills`)
  }

  put({ clientId, brokerId, topic, payload, qos, retain }: Will): void {
    this.store.run(clientId, brokerId ?? null, topic, payload, qos, Number(retain))
  }

  get(client: string): Will | undefined {
    const row = this.find.get(client) as unknown as WillRow | undefined
    return row && willOf(row)
  }

  delete(client: string): void {
    this.remove.run(client)
  }

  list(): Will[] {
    return (this.all.all() as unknown as WillRow[]).map(willOf)
  }
}

type WillRow = Row & { client: string; broker_id: string | null }

const willOf = (row: WillRow): Will => ({
  ...messageOf(row),
  clientId: row.client,
  ...(row.broker_id !== null && { brokerId: row.broker_id }),
})
