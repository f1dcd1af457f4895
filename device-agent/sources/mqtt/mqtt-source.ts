import { LatestWindow } from '../live/latest-window.ts'
import type { Source, SourceWindow } from '../source.ts'
import { type MqttAccess, Subscription } from './subscription.ts'
import { readWindowMessage, type WindowMessage, type WindowMessageOptions } from './window-message.ts'

export interface MqttSourceOptions extends MqttAccess, WindowMessageOptions {
  /** How often a window is expected. */
  intervalMs: number
  /** Shaft speed in Hz where messages do not say. */
  shaftHz?: number
}

/**
 * Windows that a microcontroller publishes, one in each message; the agent is its gateway. A window that comes twice is
 * passed over, a retained one too: nobody knows when it was taken. Windows are whole; one before which others are missing,
 * by its number, is marked so. Throws `SENSOR_FAILED` without a connection, and for messages that are no window of the model.
 */
export class MqttSource implements Source {
  readonly rateHz: number
  readonly windowSamples: number
  readonly intervalMs: number
  private readonly options: MqttSourceOptions
  private readonly latest = new LatestWindow()
  private before: { payload: Buffer; number?: number } | undefined

  constructor(options: MqttSourceOptions) {
    this.options = options
    this.rateHz = options.rateHz
    this.windowSamples = options.windowSamples
    this.intervalMs = options.intervalMs
  }

  get overruns(): number {
    return this.latest.overruns
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    if (signal.aborted) return
    const { latest } = this
    latest.begin()
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
      if (!this.isRepetition(payload, message)) this.take(message)
      this.before = { payload, ...(message.number !== undefined && { number: message.number }) }
    } catch (error) {
      this.latest.end(error)
    }
  }

  /** Of a signal no two windows are alike to the last bit. */
  private isRepetition(payload: Buffer, { number }: WindowMessage): boolean {
    if (!this.before) return false
    return number === undefined ? payload.equals(this.before.payload) : number === this.before.number
  }

  private take({ samples, number, shaftHz = this.options.shaftHz }: WindowMessage): void {
    const { rateHz, windowSamples } = this.options
    const last = this.before?.number
    // A lower number: the sender has begun anew, or its counter has.
    const gap = number !== undefined && last !== undefined && number > last + 1
    this.latest.put({
      window: { samples, shape: [windowSamples], rateHz, ...(shaftHz !== undefined && { shaftHz }) },
      at: new Date(),
      ...(gap && { gap: true as const }),
    })
  }
}
