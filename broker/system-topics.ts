import { version } from '@faultline/runtime'
import type { Aedes } from 'aedes'
import type { BrokerCounts } from './counts.ts'

/** The values under `$SYS/broker/` that tools know from other brokers; thin on purpose. */
const values: Record<string, (counts: BrokerCounts, uptimeS: number) => string> = {
  version: () => `faultline ${version}`,
  uptime: (_, uptimeS) => `${Math.floor(uptimeS)} seconds`,
  'clients/connected': counts => String(counts.connected),
  'publish/messages/received': counts => String(counts.received),
  'publish/messages/sent': counts => String(counts.sent),
}

/** Publishes retained figures about the broker every ten seconds. */
export class SystemTopics {
  private readonly counts: BrokerCounts
  private timer: NodeJS.Timeout | undefined

  constructor(counts: BrokerCounts) {
    this.counts = counts
  }

  start(aedes: Aedes): void {
    const startedAt = performance.now()
    const publish = () => {
      for (const [name, read] of Object.entries(values)) {
        const payload = read(this.counts, (performance.now() - startedAt) / 1_000)
        aedes.publish(
          { cmd: 'publish', topic: `$SYS/broker/${name}`, payload, qos: 0, retain: true, dup: false },
          () => {},
        )
      }
    }
    publish()
    this.timer = setInterval(publish, 10_000)
  }

  stop(): void {
    clearInterval(this.timer)
  }
}
