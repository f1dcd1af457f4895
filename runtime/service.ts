import { lastResortFor } from './last-resort.ts'
import type { Logger } from './logger.ts'

/** Anything with a life: constructed without effects, started once, stopped once. */
export interface Service {
  start(): Promise<void>
  stop(): Promise<void>
}

/** Services that belong together: started in order, stopped in reverse; a failed start stops what was started. */
export class ServiceGroup implements Service {
  private readonly services: readonly Service[]
  private started: Service[] = []

  constructor(services: readonly Service[]) {
    this.services = services
  }

  async start(): Promise<void> {
    for (const service of this.services) {
      try {
        await service.start()
      } catch (error) {
        await this.stop().catch(() => {}) // The reason to report is why it did not start.
        throw error
      }
      this.started.push(service)
    }
  }

  /** Stops every started service even when one fails, then throws the first failure. */
  async stop(): Promise<void> {
    const failures: unknown[] = []
    for (const service of this.started.reverse()) {
      try {
        await service.stop()
      } catch (error) {
        failures.push(error)
      }
    }
    this.started = []
    if (failures.length > 0) throw failures[0]
  }
}

/** A signal that comes so long after the first is a person who wants out, not the same key press again. */
const insistenceMs = 2_000

/**
 * Resolves with the first of SIGINT and SIGTERM, or undefined when `signal` aborts first. The handlers stay: a terminal
 * sends Ctrl-C to every process of the command, and a wrapper such as npm or tsx sends it on, so that it arrives twice; a
 * second one must not end the process before it has stopped what it runs. Somebody who insists ends it at once.
 */
export function terminationSignal(signal?: AbortSignal): Promise<NodeJS.Signals | undefined> {
  return new Promise(resolve => {
    let firstAt: number | undefined
    const received = (name: NodeJS.Signals) => {
      firstAt ??= performance.now()
      if (performance.now() - firstAt > insistenceMs) process.exit(name === 'SIGINT' ? 130 : 143)
      resolve(name)
    }
    process.on('SIGINT', received)
    process.on('SIGTERM', received)
    signal?.addEventListener('abort', () => resolve(undefined))
    if (signal?.aborted) resolve(undefined)
  })
}

/**
 * Runs one service as a process: until a signal, of the system or the one given, then stops it. An error that nothing
 * handles stops it as well; see `installLastResort`.
 */
export async function runService(
  service: Service,
  { logger, signal }: { logger: Logger; signal?: AbortSignal },
): Promise<void> {
  const release = lastResortFor({ logger, stop: () => service.stop() })
  await service.start()
  await terminationSignal(signal)
  await service.stop()
  release()
}
