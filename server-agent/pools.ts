import { checkEvidence, type Evidence, pooled } from '@faultline/inference'
import {
  type EvidencePayload,
  type Message,
  modelLevel,
  type PoolPayload,
  type TopicAddress,
  toFaultlineError,
  topicOf,
} from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'

type PoolAddress = Extract<TopicAddress, { kind: 'pool' }>
type EvidenceMessage = Extract<Message, { kind: 'evidence' }>
type PoolMessage = Extract<Message, { kind: 'pool' }>

export interface PoolsOptions {
  publish: (address: PoolAddress, payload: PoolPayload | undefined) => Promise<void>
  logger: Logger
  /** How long new evidence gathers before pools are published; the retained evidence of a fleet arrives in a burst. */
  intervalMs?: number
}

/** Devices and machine types one server agent adds up; a contribution takes about two kilobytes. */
const mostContributions = 10_000
/** A pool is published again when its verdicts have grown by this, or when other devices stand behind it. */
const growth = 1.25

interface Contribution {
  payload: EvidencePayload
  pool: PoolAddress
}

/**
 * Adds up what the devices of a fleet have learned, by local model, machine type and kind of evidence. A device counts
 * once: what it says takes the place of what it said before. Every server agent hears the same retained evidence
 * and comes to the same sums, so it does not matter which of them publishes a pool, or how many.
 */
export class Pools {
  private readonly options: PoolsOptions
  /** By topic of the evidence. */
  private readonly contributions = new Map<string, Contribution>()
  /** By topic of the pool, what is retained there. */
  private readonly published = new Map<string, PoolPayload>()
  private readonly changed = new Map<string, PoolAddress>()
  private timer: NodeJS.Timeout | undefined
  private full = false

  constructor(options: PoolsOptions) {
    this.options = options
  }

  /** A device has learned something. Throws `POLICY_STATE_INVALID` for what it cannot have learned. */
  receive({ address, payload }: EvidenceMessage): void {
    checkEvidence(payload)
    const topic = topicOf(address)
    const known = this.contributions.get(topic)
    if (!known && this.contributions.size >= mostContributions) {
      if (!this.full) this.options.logger.warn({ mostContributions }, 'no more evidence is taken')
      this.full = true
      return
    }
    const { machineType } = address
    const pool: PoolAddress = { kind: 'pool', model: modelLevel(payload.model), machineType, evidence: payload.kind }
    this.contributions.set(topic, { payload, pool })
    // Of another model, or another policy, from now on: missing where it was.
    if (known) this.change(known.pool)
    this.change(pool)
  }

  /** A pool as it is retained, whoever published it. */
  heard({ address, payload }: PoolMessage): void {
    this.published.set(topicOf(address), payload)
  }

  /** A retained message was cleared. */
  cleared(address: TopicAddress): void {
    const topic = topicOf(address)
    if (address.kind === 'pool') this.published.delete(topic)
    const known = this.contributions.get(topic)
    if (!known) return
    this.contributions.delete(topic)
    this.change(known.pool)
  }

  stop(): void {
    clearTimeout(this.timer)
    this.timer = undefined
    this.changed.clear()
  }

  private change(pool: PoolAddress): void {
    this.changed.set(topicOf(pool), pool)
    this.timer ??= setTimeout(() => this.publishAll(), this.options.intervalMs ?? 60_000)
  }

  private publishAll(): void {
    this.timer = undefined
    for (const [topic, address] of this.changed) {
      this.publish(topic, address).catch(thrown =>
        this.options.logger.warn(
          { topic, error: toFaultlineError(thrown).message },
          'publishing pooled evidence failed',
        ),
      )
    }
    this.changed.clear()
  }

  private async publish(topic: string, address: PoolAddress): Promise<void> {
    const pool = this.poolOf(topic)
    const before = this.published.get(topic)
    const worthIt = pool ? !before || isNews(before, pool) : before !== undefined
    if (worthIt) await this.options.publish(address, pool)
  }

  /** Devices in the order of their names, so that every server agent rounds alike. */
  private poolOf(topic: string): PoolPayload | undefined {
    const entries = [...this.contributions].filter(([, { pool }]) => topicOf(pool) === topic)
    const parts = entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { payload }]) => payload)
    const first = parts[0]
    // A pool whose first digits another model shares, or whose sums have another length, is not added to.
    const alike = parts.filter(({ model, sums }) => model === first?.model && sums.length === first.sums.length)
    const sum: Evidence | undefined = pooled(alike)
    if (!first || !sum) return undefined
    const at = alike.map(part => part.at).sort()[alike.length - 1]!
    return { at, model: first.model, devices: alike.length, ...sum, sums: sum.sums.map(rounded) }
  }
}

const rounded = (value: number): number => Number(value.toPrecision(7))

const isNews = (before: PoolPayload, now: PoolPayload): boolean =>
  now.devices !== before.devices || now.verdicts >= before.verdicts * growth || now.verdicts < before.verdicts
