import { type DestinationStream, type Logger, pino } from 'pino'

export type { Logger } from 'pino'

export interface LoggerOptions {
  level?: string
  /** A file path; standard error when absent, so that standard output stays for results. */
  file?: string
}

/** A structured logger (one JSON object per line). Secrets are cut out of the top level and the one below. */
export function createLogger(component: string, options: LoggerOptions = {}): Logger {
  const destination: DestinationStream = pino.destination({
    dest: options.file ?? 2,
    mkdir: options.file !== undefined,
    sync: true,
  })
  const level = options.level ?? process.env.FAULTLINE_LOG_LEVEL ?? 'info'
  return pino({ name: component, level, redact: ['password', 'secret', '*.password', '*.secret'] }, destination)
}

/** For tests and short commands. */
export const silentLogger: Logger = pino({ level: 'silent' })
