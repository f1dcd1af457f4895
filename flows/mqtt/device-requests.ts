import {
  type CommandResult,
  type ConfigDesired,
  type ConfigReported,
  type ErrorCode,
  errorCodes,
  FaultlineError,
  type Message,
  newId,
  type RuntimeConfig,
} from '@faultline/protocol'
import type { Service } from '@faultline/runtime'
import { Answers } from './answers.ts'
import type { BrokerLink } from './broker-link.ts'

export interface DeviceName {
  site: string
  device: string
}

/** Commands and configurations for devices, each with the answer of the device. */
export class DeviceRequests implements Service {
  private readonly link: BrokerLink
  private readonly timeoutMs: number
  private readonly results = new Answers<CommandResult>()
  private readonly reports = new Answers<ConfigReported>()
  private readonly desired = new Map<string, ConfigDesired>()
  private readonly revisions = new Map<string, number>()
  /** By device: a revision is chosen when the one before it is out. */
  private readonly configuring = new Map<string, Promise<unknown>>()
  private unsubscribe = () => {}

  constructor(link: BrokerLink, timeoutMs: number) {
    this.link = link
    this.timeoutMs = timeoutMs
  }

  async start(): Promise<void> {
    this.unsubscribe = this.link.subscribe(['command-result', 'config-desired', 'config-reported'], message =>
      this.receive(message),
    )
  }

  async stop(): Promise<void> {
    this.unsubscribe()
    this.results.abandon()
    this.reports.abandon()
  }

  /**
   * Resolves with what the command gave. Rejects with the device's own error, and with `ANSWER_MISSING` when it does not
   * answer in time: it may still carry the command out.
   */
  async command(target: DeviceName, name: string, args: Record<string, unknown>): Promise<Record<string, unknown>> {
    const id = newId()
    const answer = this.results.await(id, this.timeoutMs, `${keyOf(target)} did not answer the command ${name}`)
    await this.link.publish({ kind: 'command', ...target }, { id, name, args })
    const { ok, result, error } = await answer
    if (!ok) throw refused(error, `${keyOf(target)} refused the command ${name}`)
    return result ?? {}
  }

  /** Resolves with the configuration in force. Changes what is named and keeps what was desired before. Rejects as `command`. */
  async configure(target: DeviceName, changes: RuntimeConfig): Promise<RuntimeConfig> {
    await this.whenSettled()
    const key = keyOf(target)
    const turn = (this.configuring.get(key) ?? Promise.resolve()).then(() => this.change(target, changes))
    const settled = turn.catch(() => {})
    this.configuring.set(key, settled)
    return turn
  }

  private async change(target: DeviceName, changes: RuntimeConfig): Promise<RuntimeConfig> {
    const key = keyOf(target)
    const before = this.desired.get(key)
    const revision = Math.max(before?.revision ?? 0, this.revisions.get(key) ?? 0) + 1
    const answer = this.reports.await(
      `${key} ${revision}`,
      this.timeoutMs,
      `${key} did not answer the configuration ${revision}`,
    )
    const config = { ...before?.config, ...changes }
    this.desired.set(key, { revision, config })
    await this.link.publish({ kind: 'config-desired', ...target }, { revision, config })
    const { status, error, config: inForce } = await answer
    if (status === 'applied') return inForce
    // It stays at the broker, retained, until something better takes its place: what was good is desired again.
    this.desired.set(key, { revision, config: before?.config ?? {} })
    await this.link.publish({ kind: 'config-desired', ...target }, { revision, config: before?.config ?? {} })
    throw refused(error, `${key} refused the configuration ${revision}`)
  }

  private receive({ kind, address, payload }: Message): void {
    if (kind === 'command-result') this.results.give(payload.id, payload)
    if (kind === 'config-desired') this.desired.set(keyOf(address), payload)
    if (kind === 'config-reported') {
      this.revisions.set(keyOf(address), payload.revision)
      this.reports.give(`${keyOf(address)} ${payload.revision}`, payload)
    }
  }

  /** A revision can be chosen only when those in use are known. */
  private whenSettled(): Promise<void> {
    if (this.link.settled) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const settled = () => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(() => {
        this.link.off('settled', settled)
        reject(new FaultlineError('BROKER_UNREACHABLE', 'the broker did not say which configurations stand'))
      }, this.timeoutMs)
      this.link.once('settled', settled)
    })
  }
}

const keyOf = ({ site, device }: DeviceName): string => `${site}/${device}`

function refused(error: { code: string; message: string } | undefined, what: string): FaultlineError {
  const code = error && Object.hasOwn(errorCodes, error.code) ? (error.code as ErrorCode) : 'COMMAND_INVALID'
  return new FaultlineError(code, error ? `${what}: ${error.message}` : what)
}
