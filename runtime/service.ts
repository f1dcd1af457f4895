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

/** Resolves with the first of SIGINT and SIGTERM, or undefined when `signal` aborts first. */
export function terminationSignal(signal?: AbortSignal): Promise<NodeJS.Signals | undefined> {
  return new Promise(resolve => {
    const done = (received?: NodeJS.Signals) => {
      process.off('SIGINT', done)
      process.off('SIGTERM', done)
      signal?.removeEventListener('abort', aborted)
      resolve(received)
    }
    const aborted = () => done(undefined)
    process.on('SIGINT', done)
    process.on('SIGTERM', done)
    signal?.addEventListener('abort', aborted)
    if (signal?.aborted) aborted()
  })
}

/** Runs one service as a process: until a signal, then stops it. */
export async function runService(service: Service): Promise<void> {
  await service.start()
  await terminationSignal()
  await service.stop()
}
