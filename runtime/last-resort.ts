import { setTimeout as delay } from 'node:timers/promises'
import { toFaultlineError } from '@faultline/protocol'
import type { Logger } from './logger.ts'

/** What a process runs, for the case that an error reaches nothing that handles it. */
interface Work {
  logger: Pick<Logger, 'fatal'>
  stop(): Promise<void>
}

/** Stopping waits for a broker or a disk, of which one may be what failed; systemd waits 90 s by default. */
const stopLimitMs = 10_000

let work: Work | undefined
let ending = false

/**
 * Takes exceptions and rejections that nothing handles: they are logged with their code and stack, what runs is stopped
 * within ten seconds, and the process exits with 1 so that the service manager starts it again. Once for each process.
 */
export function installLastResort(): void {
  // Node.js raises unhandled rejections as exceptions; `origin` tells them apart.
  process.on('uncaughtException', (thrown, origin) => end(thrown, origin))
}

/** Names what is to be stopped, from now on until the returned function is called. */
export function lastResortFor(current: Work): () => void {
  work = current
  return () => {
    if (work === current) work = undefined
  }
}

function end(thrown: unknown, origin: string): void {
  report(thrown, origin)
  process.exitCode = 1
  if (ending) return // Stopping after an error often meets the same error.
  ending = true
  const exit = () => process.exit(1)
  const failed = (error: unknown) => {
    report(error, 'stop')
    exit()
  }
  const stopped = work ? Promise.race([work.stop(), delay(stopLimitMs)]) : Promise.resolve()
  stopped.then(exit, failed)
}

function report(thrown: unknown, origin: string): void {
  const { code, message } = toFaultlineError(thrown)
  const stack = thrown instanceof Error ? thrown.stack : undefined
  try {
    if (work) work.logger.fatal({ code, origin, error: message, stack }, 'unhandled error; the process stops')
    else process.stderr.write(`error ${code}: ${message}\n${stack === undefined ? '' : `${stack}\n`}`)
  } catch {
    // A log that cannot be written must not keep the process from ending.
  }
}
