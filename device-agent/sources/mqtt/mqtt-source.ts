import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { LatestWindow } from '../live/latest-window.ts'
import type { Source, SourceWindow } from '../source.ts'
import { MessageWindows, type MessageWindowsOptions } from './message-windows.ts'
import { type MqttAccess, Subscription } from './subscription.ts'
import { readWindowMessage, type WindowMessageOptions } from './window-message.ts'

export interface MqttSourceOptions extends MqttAccess, WindowMessageOptions, MessageWindowsOptions {
  /** How long nothing but foreign messages may come before the sensor has failed; five intervals when absent, 10 s at least. */
  maxForeignMs?: number
  /** Hears once what is assumed because neither messages nor configuration say it, and of the first foreign message. */
  notice?: (what: string) => void
}

/**
 * What a microcontroller publishes; the agent is its gateway. A message that comes twice is passed over, a retained one too: nobody
 * knows when it was taken. One that holds no samples is foreign, a heartbeat for instance: it is passed over and counted.
 * Throws `SENSOR_FAILED` without a connection, and where for a while nothing but foreign messages comes.
 */
export class MqttSource implements Source {
  readonly rateHz: number
  readonly windowSamples: number
  readonly intervalMs: number
  /** Messages that held no samples. */
  foreign = 0
  private readonly options: MqttSourceOptions
  private readonly latest = new LatestWindow()
  private readonly windowsOf: MessageWindows
  private before: Buffer | undefined
  private readonly noticed = new Set<string>()
  /** When samples came last, or were first waited for. */
  private goodAt: number | undefined

  constructor(options: MqttSourceOptions) {
    this.options = options
    this.rateHz = options.rateHz
    this.windowSamples = options.windowSamples
    this.intervalMs = options.intervalMs
    this.windowsOf = new MessageWindows(options, this.latest)
  }

  get overruns(): number {
    return this.latest.overruns
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    if (signal.aborted) return
    const { latest } = this
    latest.begin()
    this.windowsOf.begin()
    this.goodAt ??= performance.now()
    const subscription = new Subscription(this.options, {
      message: (payload, retained) => {
        if (!retained) this.receive(payload)
      },
      closed: error => latest.end(error),
    })
    const aborted = () => {
      subscription.close().catch(() => {}) // It is left with its connection.
    }
    signal.addEventListener('abort', aborted)
    try {
      await subscription.open()
      yield* latest.windows(signal)
    } finally {
      signal.removeEventListener('abort', aborted)
      await subscription.close()
    }
  }

  private receive(payload: Buffer): void {
    try {
      const message = readWindowMessage(payload, this.options)
      // Of a signal no two messages are alike to the last bit.
      const repeated = message.number === undefined && this.before !== undefined && payload.equals(this.before)
      this.before = payload
      if (!repeated) this.windowsOf.take(message)
      this.goodAt = performance.now()
      const { rateHz, sourceHz } = this.options
      if (message.rateHz === undefined && sourceHz === undefined)
        this.notice('rate', `no rateHz: taken as the ${rateHz} Hz of the model`)
    } catch (thrown) {
      this.passOver(toFaultlineError(thrown))
    }
  }

  private passOver({ message }: FaultlineError): void {
    this.foreign++
    const { maxForeignMs = Math.max(10_000, 5 * this.intervalMs), topic } = this.options
    this.notice('foreign', `${topic}: a message is passed over: ${message}`)
    const sinceMs = performance.now() - (this.goodAt ?? 0)
    if (sinceMs >= maxForeignMs)
      this.latest.end(
        new FaultlineError(
          'SENSOR_FAILED',
          `${topic}: no samples for ${Math.round(sinceMs / 1_000)} s, ${this.foreign} messages passed over; the last: ${message}`,
        ),
      )
  }

  private notice(what: string, text: string): void {
    if (this.noticed.has(what)) return
    this.noticed.add(what)
    this.options.notice?.(text)
  }
}
