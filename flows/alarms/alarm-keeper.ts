import { type Alarm, FaultlineError, type Message, type TopicAddress, toFaultlineError } from '@faultline/protocol'
import { maxTimerMs, type Service } from '@faultline/runtime'
import type { BrokerLink } from '../mqtt/broker-link.ts'
import type { AlarmRequest } from './alarm-actions.ts'
import type { AlarmRuleOptions } from './alarm-options.ts'
import { type AlarmChange, AlarmRule } from './alarm-rule.ts'
import type { AlarmName } from './lifecycle.ts'
import type { Notice } from './notices.ts'

export type Windows = Extract<Message, { kind: 'inference' | 'summary' }>

export interface AlarmKeeperOptions {
  link: BrokerLink
  rule: AlarmRuleOptions
  /** An alarm came into another state, or somebody wrote something about it. */
  onChange: (change: AlarmChange) => void
  /** Somebody is to be told of an alarm. */
  onNotice: (alarm: Alarm, notice: Notice) => void
  /** An alarm was cleared by hand. */
  onForgotten: () => void
  /** An alarm could not be published. */
  onError: (error: FaultlineError) => void
  /** The machine's own when absent. */
  clock?: Clock
}

/** What alarms need of time; a test can stand in for it. */
export interface Clock {
  now(): Date
  /** In ms, by a clock that is never set. */
  monotonic(): number
  setTimeout(work: () => void, delayMs: number): unknown
  clearTimeout(timer: unknown): void
}

const systemClock: Clock = {
  now: () => new Date(),
  monotonic: () => performance.now(),
  setTimeout: (work, delayMs) => setTimeout(work, delayMs),
  clearTimeout: timer => clearTimeout(timer as NodeJS.Timeout),
}

/** A wall clock that goes astray by so much against the monotonic one was set; less is drift. */
const minSetMs = 1_000

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
  private readonly clock: Clock
  private readonly waiting: Waiting[] = []
  private readonly outdated = new Map<string, Alarm>()
  private readonly restored = () => this.begin()
  private readonly republish = () => this.publishAll()
  private readonly cleared = (address: TopicAddress) => this.forget(address)
  private unsubscribe = () => {}
  private running = false
  private timer: NodeJS.Timeout | undefined
  private alarmClock: { timer: unknown; at: number } | undefined
  /** What the wall clock showed when the monotonic one was at zero. */
  private wallOffset = 0

  /** Throws `CONFIG_INVALID` for a rule that makes no sense. */
  constructor(options: AlarmKeeperOptions) {
    this.options = options
    this.rule = new AlarmRule(options.rule)
    this.clock = options.clock ?? systemClock
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
    this.clock.clearTimeout(this.alarmClock?.timer)
    this.alarmClock = undefined
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
      const now = this.now()
      const { address } = message
      this.apply(
        message.kind === 'inference'
          ? this.rule.observe(address, message.payload, now)
          : this.rule.observeSummary(address, message.payload, now),
      )
    })
  }

  /** Does what a person asks for. Rejects with `MESSAGE_INVALID` where the alarm is in no state for it. */
  act(request: AlarmRequest): Promise<void> {
    return this.whenRunning(() => this.apply(this.rule.act(request, this.now())))
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
    const now = this.clock.now()
    this.wallOffset = now.getTime() - this.clock.monotonic()
    this.tell(this.rule.clockSet(0, now))
    for (const { work } of this.waiting.splice(0)) work()
    this.apply([])
  }

  /** Sees first whether the clock was set: no delay may end early, nor an alarm stay silent, because of it. */
  private now(): Date {
    const now = this.clock.now()
    const astray = now.getTime() - this.clock.monotonic() - this.wallOffset
    if (Math.abs(astray) < minSetMs) return now
    this.wallOffset += astray
    this.tell(this.rule.clockSet(astray, now))
    return now
  }

  private apply(changes: readonly AlarmChange[]): void {
    try {
      this.tell(changes)
      for (let now = this.now(); this.rule.due <= now.getTime(); now = this.now()) {
        this.tell(this.rule.advance(now))
      }
    } finally {
      this.wakeAt(this.rule.due)
    }
  }

  /** Sees to it that `apply` runs when something is due. */
  private wakeAt(at: number): void {
    if (at === (this.alarmClock?.at ?? Number.POSITIVE_INFINITY)) return
    this.clock.clearTimeout(this.alarmClock?.timer)
    this.alarmClock = undefined
    if (at === Number.POSITIVE_INFINITY) return
    const wake = () => {
      this.alarmClock = undefined
      try {
        this.apply([])
      } catch (thrown) {
        // A mistake here must not end the process.
        this.options.onError(toFaultlineError(thrown))
      }
    }
    const delayMs = Math.min(Math.max(1, at - this.clock.now().getTime()), maxTimerMs)
    this.alarmClock = { timer: this.clock.setTimeout(wake, delayMs), at }
  }

  private tell(changes: readonly AlarmChange[]): void {
    for (const change of changes) {
      const { alarm } = change
      const key = keyOf(alarm)
      if (change.change === 'updated') {
        this.outdated.set(key, alarm)
        continue
      }
      this.outdated.delete(key)
      this.publish(alarm)
      try {
        if (change.notice) this.options.onNotice(alarm, change.notice)
        else this.options.onChange(change)
      } catch (thrown) {
        // A node behind this one that throws must not keep the other alarms from being published.
        this.options.onError(toFaultlineError(thrown))
      }
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
