import { spawn } from 'node:child_process'
import type { Service } from './service.ts'

export interface ServiceManagerOptions {
  /** As systemd sets it for a unit of `Type=notify`. */
  environment?: NodeJS.ProcessEnv
  /** Told once when systemd cannot be told. */
  failed?: (error: Error) => void
}

/**
 * Tells systemd that a unit of `Type=notify` is ready, that it goes on (`WatchdogSec=`) and that it stops, as sd_notify(3)
 * has it. It is the last service of its group, so that ready means all of it. The keep-alive comes from a timer of the event
 * loop: a process whose loop hangs is ended and started again. Without systemd it does nothing.
 *
 * Node cannot write to a datagram socket of the file system, so systemd's own `systemd-notify` does; the unit therefore
 * needs `NotifyAccess=all`.
 */
export class ServiceManager implements Service {
  private readonly environment: NodeJS.ProcessEnv
  private readonly failed: (error: Error) => void
  private timer: NodeJS.Timeout | undefined
  private failures = 0

  constructor({ environment = process.env, failed = () => {} }: ServiceManagerOptions = {}) {
    this.environment = environment
    this.failed = failed
  }

  async start(): Promise<void> {
    await this.tell('READY=1')
    const intervalMs = this.watchdogMs / 2
    if (intervalMs > 0) this.timer = setInterval(() => this.keepAlive(), intervalMs)
  }

  async stop(): Promise<void> {
    clearInterval(this.timer)
    await this.tell('STOPPING=1')
  }

  /** How long systemd waits for a keep-alive; 0 where it does not. */
  private get watchdogMs(): number {
    const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID = String(process.pid) } = this.environment
    return NOTIFY_SOCKET && WATCHDOG_PID === String(process.pid) ? Number(WATCHDOG_USEC ?? 0) / 1_000 : 0
  }

  private keepAlive(): void {
    this.notify('WATCHDOG=1').catch(this.report)
  }

  /** What goes wrong here is no reason to stop: systemd will notice. */
  private async tell(state: string): Promise<void> {
    await this.notify(state).catch(this.report)
  }

  private async notify(state: string): Promise<void> {
    if (!this.environment.NOTIFY_SOCKET) return
    await new Promise<void>((resolve, reject) => {
      const child = spawn('systemd-notify', [state], { env: this.environment, stdio: 'ignore' })
      child.on('error', reject)
      child.on('exit', code => (code === 0 ? resolve() : reject(new Error(`systemd-notify ended with ${code}`))))
    })
  }

  private readonly report = (error: Error): void => {
    if (this.failures++ === 0) this.failed(error)
  }
}
