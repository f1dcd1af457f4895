import { type Alarm, type Health, type Message, topicFilter } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import type { VersionedSite } from '../support/versioned-site.ts'

/** Listens in a stored session, so that restarts of the broker cost it nothing, and keeps account. */
export class Witness {
  /** Identifiers of windows, by measurement point. */
  readonly windows = new Map<string, Set<string>>()
  /** What every run of a device said last of its windows, by device. */
  readonly runs = new Map<string, Health[]>()
  /** All that was said of each alarm, in order, by machine. */
  readonly alarms = new Map<string, Alarm[]>()
  readonly refused: string[] = []
  private readonly session: MqttSession

  constructor({ watcher }: VersionedSite) {
    this.session = new MqttSession({
      ...watcher,
      clientId: `${watcher.identity.name}/witness`,
      clean: false,
      subscriptions: [topicFilter('inference'), topicFilter('health'), topicFilter('alarm')],
      onMessage: message => this.note(message),
      logger: silentLogger,
      backOff: { initialMs: 50, maximumMs: 200 },
    })
    this.session.on('refused', ({ message }, topic) => this.refused.push(`${topic}: ${message}`))
  }

  async start(): Promise<void> {
    await this.session.start()
    await this.session.whenOnline()
  }

  async stop(): Promise<void> {
    await this.session.stop()
  }

  private note({ kind, address, payload }: Message): void {
    if (kind === 'inference') {
      const ids = this.windows.get(address.point) ?? new Set()
      this.windows.set(address.point, ids.add(payload.id))
    } else if (kind === 'health') {
      const runs = this.runs.get(address.device) ?? []
      this.runs.set(address.device, runs)
      // Counters begin anew with every run.
      if (runs.length === 0 || payload.uptimeS < runs.at(-1)!.uptimeS) runs.push(payload)
      else runs[runs.length - 1] = payload
    } else if (kind === 'alarm') {
      this.alarms.set(payload.machine, [...(this.alarms.get(payload.machine) ?? []), payload])
    }
  }
}
