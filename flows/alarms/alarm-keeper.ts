import { type Alarm, FaultlineError, type Message, type TopicAddress, toFaultlineError } from '@faultline/protocol'
import type { Service } from '@faultline/runtime'
import type { BrokerLink } from '../mqtt/broker-link.ts'
import { type AlarmChange, AlarmRule, type AlarmRuleOptions } from './alarm-rule.ts'
import type { AlarmName } from './lifecycle.ts'

export type Windows = Extract<Message, { kind: 'inference' | 'summary' }>

export interface AlarmKeeperOptions {
  link: BrokerLink
  rule: AlarmRuleOptions
  /** An alarm was raised, returned to normal or was acknowledged. */
  onChange: (change: AlarmChange) => void
  /** An alarm was cleared by hand. */
  onForgotten: () => void
  /** An alarm could not be published. */
  onError: (error: FaultlineError) => void
}

/** A count that grew is published at most so often; a change of state at once. */
const updateIntervalMs = 5_000

/** While the broker is away at the start, so many windows wait to be counted; then the oldest go. */
const longestQueue = 10_000

interface Waiting {
  work: () => void
  reject: (error: FaultlineError) => void
}

/**
 * Keeps the alarms of the contract: the retained topics are both what others read and the memory that survives a
 * restart, so that there is one truth and no file beside it. Windows wait until that memory has been read.
 */
export class AlarmKeeper implements Service {
  private readonly options: AlarmKeeperOptions
  private readonly rule: AlarmRule
  private readonly waiting: Waiting[] = []
  private readonly outdated = new Map<string, Alarm>()
  private readonly restored = () => this.begin()
  private readonly republish = () => this.publishAll()
  private readonly cleared = (address: TopicAddress) => this.forget(address)
  private unsubscribe = () => {}
  private running = false
  private timer: NodeJS.Timeout | undefined

  /** Throws `CONFIG_INVALID` for a rule that makes no sense. */
  constructor(options: AlarmKeeperOptions) {
    this.options = options
    this.rule = new AlarmRule(options.rule)
  }

  async start(): Promise<void> {
    const { link } = this.options
    this.unsubscribe = link.subscribe(['alarm'], message => {
      if (!this.running && message.kind === 'alarm') this.rule.restore(message.payload)
    })
    if (link.settled) this.begin()
    else link.once('settled', this.restored)
    link.on('online', this.republish)
    link.on('cleared', this.cleared)
  }

  /** Publishes counts that are not yet out; what still waits is rejected with `BROKER_UNREACHABLE`. */
  async stop(): Promise<void> {
    const { link } = this.options
    this.unsubscribe()
    link.off('settled', this.restored)
    link.off('online', this.republish)
    link.off('cleared', this.cleared)
    clearInterval(this.timer)
    this.flush()
    this.running = false
    for (const { reject } of this.waiting.splice(0)) reject(notCounted('the alarms were never read'))
  }

  alarms(): Iterable<Alarm> {
    return this.rule.alarms()
  }

  /**
   * Counts windows. Rejects with `IDENTIFIER_INVALID` for a class that cannot name an alarm, and with
   * `BROKER_UNREACHABLE` when too many wait for the broker to say which alarms stand.
   */
  observe(message: Windows): Promise<void> {
    return this.whenRunning(() => {
      const now = new Date()
      const { address } = message
      this.apply(
        message.kind === 'inference'
          ? this.rule.observe(address, message.payload, now)
          : this.rule.observeSummary(address, message.payload, now),
      )
    })
  }

  /** Resolves with false when there is nothing to acknowledge. */
  acknowledge(name: AlarmName): Promise<boolean> {
    return this.whenRunning(() => {
      const change = this.rule.acknowledge(name, new Date())
      if (change) this.apply([change])
      return change !== undefined
    })
  }

  private whenRunning<T>(work: () => T): Promise<T> {
    if (this.running) return new Promise(resolve => resolve(work()))
    return new Promise((resolve, reject) => {
      const settle = () => {
        try {
          resolve(work())
        } catch (error) {
          reject(error)
        }
      }
      this.waiting.push({ work: settle, reject })
      if (this.waiting.length > longestQueue) {
        this.waiting.shift()?.reject(notCounted(`more than ${longestQueue} windows wait for the alarms`))
      }
    })
  }

  private begin(): void {
    this.running = true
    this.timer = setInterval(() => this.flush(), updateIntervalMs)
    for (const { work } of this.waiting.splice(0)) work()
  }

  private apply(changes: readonly AlarmChange[]): void {
    for (const change of changes) {
      const { alarm } = change
      const key = keyOf(alarm)
      if (change.change === 'updated') {
        this.outdated.set(key, alarm)
        continue
      }
      this.outdated.delete(key)
      this.publish(alarm)
      this.options.onChange(change)
    }
  }

  private forget(address: TopicAddress): void {
    if (address.kind !== 'alarm') return
    this.outdated.delete(keyOf(address))
    if (this.rule.forget(address)) this.options.onForgotten()
  }

  private flush(): void {
    for (const alarm of this.outdated.values()) this.publish(alarm)
    this.outdated.clear()
  }

  /** A broker that came back may have forgotten what it retained. */
  private publishAll(): void {
    if (this.running) for (const alarm of this.rule.alarms()) this.publish(alarm)
  }

  private publish(alarm: Alarm): void {
    const { site, machine, fault } = alarm
    this.options.link.publish({ kind: 'alarm', site, machine, fault }, alarm).catch(thrown => {
      this.options.onError(toFaultlineError(thrown))
    })
  }
}

const keyOf = ({ site, machine, fault }: AlarmName): string => `${site}/${machine}/${fault}`

const notCounted = (reason: string) =>
  new FaultlineError('BROKER_UNREACHABLE', `a message was given up before the broker was there: ${reason}`)
