import { metrics } from '@faultline/runtime'
import type { Broker } from './broker.ts'

type Figure = number | Record<string, number>

/** What a broker counts, for Prometheus. Every series is there from the start, at zero until something happens. */
export class BrokerMetrics {
  readonly registry = new metrics.Registry()

  constructor(broker: Broker) {
    const { counts } = broker
    const add = (
      Kind: typeof metrics.Gauge | typeof metrics.Counter,
      name: string,
      help: string,
      read: () => Figure | Promise<Figure>,
      label?: string,
    ) => {
      const metric = new Kind({
        name: `faultline_broker_${name}`,
        help,
        labelNames: label === undefined ? [] : [label],
        registers: [this.registry],
        // Counted where it happens; here it is only read.
        async collect() {
          this.reset()
          const value = await Promise.resolve()
            .then(read)
            .catch(() => undefined)
          // What lies in a store that cannot be read is left out; the other series say why.
          if (value === undefined) return
          if (typeof value === 'number') this.inc(value)
          else for (const [key, count] of Object.entries(value)) this.inc({ [label!]: key }, count)
        },
      })
      return metric
    }
    const gauge = (name: string, help: string, read: () => Figure | Promise<Figure>, label?: string) =>
      add(metrics.Gauge, name, help, read, label)
    const counter = (name: string, help: string, read: () => Figure | Promise<Figure>, label?: string) =>
      add(metrics.Counter, name, help, read, label)

    gauge('connections', 'Connections that have logged in', () => counts.connected)
    gauge(
      'sessions',
      'Stored sessions, by whether their client is connected',
      async () => {
        const { stored, sleeping } = (await broker.engine?.sessions.count()) ?? { stored: 0, sleeping: 0 }
        return { connected: stored - sleeping, sleeping }
      },
      'client',
    )
    counter(
      'messages_total',
      'PUBLISH packets, by direction',
      () => ({ in: counts.received, out: counts.sent }),
      'direction',
    )
    counter(
      'message_bytes_total',
      'Bytes of topics and payloads, by direction',
      () => ({ in: counts.receivedBytes, out: counts.sentBytes }),
      'direction',
    )
    counter('received_total', 'PUBLISH packets taken, by kind of topic', () => counts.receivedByKind, 'kind')
    counter(
      'dropped_total',
      'Messages that did not go where they were meant to, by reason',
      () => counts.dropped,
      'reason',
    )
    counter('limited_total', 'Connections or requests that ended at a limit, by limit', () => counts.limited, 'limit')
    counter('held_back_total', 'Times a client was held back for sending too fast', () => counts.heldBack)
    counter(
      'refused_total',
      'Logins, publishes and subscriptions that were refused, and clients that speak another version of MQTT',
      () => ({
        login: counts.refusedLogins,
        version: counts.refusedVersions,
        publish: counts.refusedPublishes,
        subscription: counts.refusedSubscriptions,
      }),
      'what',
    )
    counter(
      'revoked_connections_total',
      'Connections ended because an identity was revoked',
      () => counts.revokedConnections,
    )
    counter(
      'takeovers_total',
      'Connections that took the place of another with the same client id',
      () => counts.takeovers,
    )
    counter('ended_sessions_total', 'Stored sessions that were ended', () => counts.expiredSessions)
    counter('redis_errors_total', 'Commands that Redis refused or did not take', () => counts.redisErrors)
    gauge(
      'queued_messages',
      'Messages waiting in the queues of sessions and groups',
      () => broker.engine?.persistence.queued.messages ?? 0,
    )
    gauge('queued_bytes', 'Bytes of these', () => broker.engine?.persistence.queued.bytes ?? 0)
    gauge(
      'deepest_queue_messages',
      'Messages in the longest of these queues',
      () => broker.engine?.persistence.deepestQueue ?? 0,
    )
    gauge('bridge_connected', '1 while the upstream broker is connected', () => (broker.bridge?.online ? 1 : 0))
    gauge(
      'bridge_waiting',
      'Escalations that the upstream broker has not acknowledged',
      () => broker.bridge?.queued ?? 0,
    )
    counter(
      'bridge_messages_total',
      'Escalations taken up and verdicts brought down; escalations dropped for want of room, expired or refused',
      () => ({ ...broker.bridge?.counts }),
      'what',
    )
    counter(
      'store_errors_total',
      'Changes and readings of the store that failed, by reason',
      () => counts.storeErrors,
      'reason',
    )
    gauge('store_writable', '1 while the store takes changes', () => (broker.engine?.trouble === undefined ? 1 : 0))
    counter('damaged_stores_total', 'Damaged stores that were set aside for new ones', () => counts.damagedStores)
    gauge('retained_messages', 'Retained messages', () => broker.engine?.persistence.retainedMessages ?? 0)
  }
}
