import { parseTopic } from '@faultline/protocol'
import type { DatabaseSync, StatementSync } from '@faultline/runtime'
import type { AedesPublishPacket } from 'aedes'
import type { Stamp } from './persistence.ts'
import { StoreClock } from './store-clock.ts'

/** A message on its way, or the PUBREL (MQTT 3.1.1, 3.6) that takes its place once the client has it. */
export type Outgoing = AedesPublishPacket | { cmd: 'pubrel'; messageId: number }

/** A message of a queue, and where in it. */
export interface Place {
  sequence: number
  packet: Outgoing
}

export interface QueueLimits {
  /** Messages that one session may have waiting, and bytes of their topics and payloads. */
  queuedMessages: number
  queuedBytes: number
  /** The same for the session of a recorder. */
  recorderQueuedMessages: number
  recorderQueuedBytes: number
  /** How long one may wait, in ms. */
  queuedMs: number
}

/** Why a message that was to be kept is not. */
export type DropReason = 'queue-full' | 'queue-age'

interface Row {
  client: string
  sequence: number
  broker_id: string
  counter: number
  message_id: number | null
  released: number
  topic: string
  payload: string | Uint8Array
  qos: number
  retain: number
  bytes: number
}

interface Size {
  messages: number
  bytes: number
}

const columns = 'sequence, client, broker_id, counter, message_id, released, topic, payload, qos, retain, bytes'

/**
 * What sessions have still to get or to acknowledge, oldest first, within limits. What has to go is the oldest telemetry:
 * there is always more of it, while nothing says again what a device was told to do. Orders give way to newer orders alone.
 */
export class QueueTable {
  private readonly limits: QueueLimits
  private readonly dropped: (client: string, reason: DropReason, messages: number) => void
  private readonly clock: StoreClock
  private readonly sizes = new Map<string, Size>()
  private readonly statements: Record<
    | 'add'
    | 'setId'
    | 'release'
    | 'findSent'
    | 'findStamp'
    | 'remove'
    | 'page'
    | 'victim'
    | 'oldest'
    | 'clear'
    | 'expire'
    | 'sizes',
    StatementSync
  >
  private lastSequence = 0

  constructor(
    database: DatabaseSync,
    limits: QueueLimits,
    dropped: (client: string, reason: DropReason, messages: number) => void,
  ) {
    this.limits = limits
    this.dropped = dropped
    this.clock = new StoreClock(database)
    this.statements = {
      add: database.prepare(
        `INSERT INTO queue (sequence, queued_at, client, broker_id, counter, is_order, topic, payload, qos, retain, bytes)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (client, broker_id, counter) DO NOTHING`,
      ),
      setId: database.prepare('UPDATE queue SET message_id = ? WHERE client = ? AND broker_id = ? AND counter = ?'),
      release: database.prepare("UPDATE queue SET released = 1, payload = '' WHERE client = ? AND message_id = ?"),
      findSent: database.prepare(
        `SELECT ${columns} FROM queue WHERE client = ? AND message_id = ? ORDER BY sequence LIMIT 1`,
      ),
      findStamp: database.prepare(`SELECT ${columns} FROM queue WHERE client = ? AND broker_id = ? AND counter = ?`),
      remove: database.prepare('DELETE FROM queue WHERE sequence = ? RETURNING bytes'),
      page: database.prepare(
        `SELECT ${columns} FROM queue WHERE client = ? AND sequence > ? ORDER BY sequence LIMIT 100`,
      ),
      victim: database.prepare(
        'SELECT sequence FROM queue WHERE client = ? AND is_order = 0 ORDER BY sequence LIMIT 1',
      ),
      oldest: database.prepare('SELECT sequence FROM queue WHERE client = ? ORDER BY sequence LIMIT 1'),
      clear: database.prepare('DELETE FROM queue WHERE client = ?'),
      // Both grow together, so the first that is young enough has only older ones before it.
      expire: database.prepare(
        `DELETE FROM queue WHERE is_order = 0
           AND sequence < ifnull((SELECT sequence FROM queue WHERE queued_at >= ? ORDER BY sequence LIMIT 1), ${2n ** 63n - 1n})
         RETURNING client, bytes`,
      ),
      sizes: database.prepare('SELECT client, count(*) AS messages, sum(bytes) AS bytes FROM queue GROUP BY client'),
    }
    this.recount()
    const last = database.prepare('SELECT max(sequence) AS last FROM queue').get() as { last: number | null }
    this.lastSequence = last.last ?? 0
  }

  /** Takes the sizes from the table, at the start and after a transaction that came to nothing. */
  recount(): void {
    const rows = this.statements.sizes.all() as unknown as (Size & { client: string })[]
    this.sizes.clear()
    for (const { client, ...size } of rows) this.sizes.set(client, size)
  }

  /** Sessions that have something waiting, and how much. */
  get waiting(): ReadonlyMap<string, Readonly<Size>> {
    return this.sizes
  }

  sizeOf(client: string): Readonly<Size> {
    return this.sizes.get(client) ?? { messages: 0, bytes: 0 }
  }

  /** Does nothing for a message the session has already. */
  add(client: string, packet: AedesPublishPacket): void {
    const { topic, payload, qos, retain, brokerId, brokerCounter } = packet
    const bytes = Buffer.byteLength(topic) + Buffer.byteLength(payload)
    if (bytes > boundsOf(this.limits, client).bytes) {
      this.dropped(client, 'queue-full', 1)
      return
    }
    const { changes } = this.statements.add.run(
      ++this.lastSequence,
      this.clock.now(),
      client,
      brokerId ?? '',
      brokerCounter ?? 0,
      Number(isOrder(topic)),
      topic,
      payload,
      qos,
      Number(retain),
      bytes,
    )
    if (changes === 0) return
    this.grow(client, 1, bytes)
    this.shrink(client)
  }

  /** Notes the identifier a message was sent with, or that the client has it and waits for its release. */
  update(client: string, packet: Outgoing): void {
    if (packet.cmd === 'pubrel') this.statements.release.run(client, packet.messageId)
    else {
      const { brokerId = '', brokerCounter = 0, messageId } = packet as AedesPublishPacket & { messageId?: number }
      this.statements.setId.run(messageId ?? null, client, brokerId, brokerCounter)
    }
  }

  /** What an acknowledgement is for. Undefined when it is not there (any more), as below. */
  findSent(client: string, messageId: number): Place | undefined {
    return placeOf(this.statements.findSent.get(client, messageId))
  }

  find(client: string, { brokerId = '', brokerCounter = 0 }: Stamp): Place | undefined {
    return placeOf(this.statements.findStamp.get(client, brokerId, brokerCounter))
  }

  /** Takes a message out of the queue, should it still be there. */
  remove(client: string, sequence: number): void {
    const row = this.statements.remove.get(sequence) as { bytes: number } | undefined
    if (row) this.grow(client, -1, -row.bytes)
  }

  /** In the order of queueing, after a place in it. What is queued or acknowledged meanwhile does no harm. */
  *read(client: string, from = 0): Generator<Place> {
    let after = from
    for (;;) {
      const page = this.statements.page.all(client, after) as unknown as Row[]
      for (const row of page) yield { sequence: row.sequence, packet: outgoingOf(row) }
      const last = page.at(-1)
      if (!last) return
      after = last.sequence
    }
  }

  clear(client: string): void {
    this.statements.clear.run(client)
    this.sizes.delete(client)
  }

  /** Drops telemetry that has waited too long. */
  expire(): void {
    this.clock.save()
    const before = this.clock.now() - this.limits.queuedMs
    for (const row of this.statements.expire.all(before) as unknown as { client: string; bytes: number }[]) {
      this.grow(row.client, -1, -row.bytes)
      this.dropped(row.client, 'queue-age', 1)
    }
  }

  private shrink(client: string): void {
    const most = boundsOf(this.limits, client)
    for (;;) {
      const { messages, bytes } = this.sizeOf(client)
      if (messages <= most.messages && bytes <= most.bytes) return
      const { victim: telemetry, oldest } = this.statements
      const victim = (telemetry.get(client) ?? oldest.get(client)) as { sequence: number }
      this.remove(client, victim.sequence)
      this.dropped(client, 'queue-full', 1)
    }
  }

  private grow(client: string, messages: number, bytes: number): void {
    const size = this.sizeOf(client)
    const next = { messages: size.messages + messages, bytes: size.bytes + bytes }
    if (next.messages > 0) this.sizes.set(client, next)
    else this.sizes.delete(client)
  }
}

function placeOf(row: unknown): Place | undefined {
  return row ? { sequence: (row as Row).sequence, packet: outgoingOf(row as Row) } : undefined
}

function outgoingOf(row: Row): Outgoing {
  if (row.released) return { cmd: 'pubrel', messageId: row.message_id! }
  const { broker_id: brokerId, counter: brokerCounter, topic, qos, retain, message_id: messageId } = row
  return {
    cmd: 'publish',
    brokerId,
    brokerCounter,
    topic,
    payload: payloadOf(row.payload),
    qos: qos as 1 | 2,
    retain: retain === 1,
    dup: false,
    messageId: messageId ?? undefined,
  } as AedesPublishPacket
}

/** Text stays text; SQLite's bytes become a Buffer without a copy. */
export const payloadOf = (payload: string | Uint8Array): string | Buffer =>
  typeof payload === 'string' ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength)

/** What a session may have waiting. A recorder's client id is its name; no other role may use it. */
export function boundsOf(limits: QueueLimits, client: string): Readonly<Size> {
  return client.startsWith('recorders/')
    ? { messages: limits.recorderQueuedMessages, bytes: limits.recorderQueuedBytes }
    : { messages: limits.queuedMessages, bytes: limits.queuedBytes }
}

/** It tells a device what to do. */
export function isOrder(topic: string): boolean {
  const kind = parseTopic(topic)?.kind
  return kind === 'command' || kind === 'config-desired'
}
