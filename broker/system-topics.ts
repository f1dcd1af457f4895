import { version } from '@faultline/runtime'
import type { BrokerCounts } from './counts.ts'
import type { Engine } from './engine.ts'

interface Figures extends BrokerCounts {
  uptimeS: number
  /** Stored sessions without a client. */
  sleeping: number
  subscriptions: number
  retained: number
  queued: { messages: number; bytes: number }
}

/** The values under `$SYS/broker/` that tools know from other brokers, by the names Mosquitto made customary. */
const values: Record<string, (figures: Figures) => string | number> = {
  version: () => `faultline ${version}`,
  uptime: ({ uptimeS }) => `${Math.floor(uptimeS)} seconds`,
  'clients/connected': ({ connected }) => connected,
  'clients/disconnected': ({ sleeping }) => sleeping,
  'clients/total': ({ connected, sleeping }) => connected + sleeping,
  'clients/maximum': ({ connectedMaximum }) => connectedMaximum,
  'clients/expired': ({ expiredSessions }) => expiredSessions,
  'publish/messages/received': ({ received }) => received,
  'publish/messages/sent': ({ sent }) => sent,
  'publish/messages/dropped': ({ dropped }) => Object.values(dropped).reduce((sum, count) => sum + count, 0),
  'publish/bytes/received': ({ receivedBytes }) => receivedBytes,
  'publish/bytes/sent': ({ sentBytes }) => sentBytes,
  'retained messages/count': ({ retained }) => retained,
  'subscriptions/count': ({ subscriptions }) => subscriptions,
  'store/messages/count': ({ queued }) => queued.messages,
  'store/messages/bytes': ({ queued }) => queued.bytes,
}

/** Publishes retained figures about the broker every ten seconds. */
export class SystemTopics {
  private readonly engine: Engine
  private readonly counts: BrokerCounts
  private timer: NodeJS.Timeout | undefined
  private startedAt = 0

  constructor(engine: Engine, counts: BrokerCounts) {
    this.engine = engine
    this.counts = counts
  }

  start(): void {
    this.startedAt = performance.now()
    const publish = () => {
      this.publish().catch(() => {}) // The engine is stopping, or the log has the reason.
    }
    publish()
    this.timer = setInterval(publish, 10_000)
  }

  stop(): void {
    clearInterval(this.timer)
  }

  private async publish(): Promise<void> {
    const { sessions, persistence, aedes } = this.engine
    const figures: Figures = {
      ...this.counts,
      uptimeS: (performance.now() - this.startedAt) / 1_000,
      sleeping: (await sessions.count()).sleeping,
      subscriptions: persistence.subscriptions,
      retained: persistence.retainedMessages,
      queued: persistence.queued,
    }
    for (const [name, read] of Object.entries(values)) {
      const topic = `$SYS/broker/${name}`
      aedes.publish(
        { cmd: 'publish', topic, payload: String(read(figures)), qos: 0, retain: true, dup: false },
        () => {},
      )
    }
  }
}
