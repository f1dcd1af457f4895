import { resolve } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { Command, CommanderError, InvalidArgumentError } from 'commander'
import { installLastResort } from './last-resort.ts'
import { maxTimerMs } from './timers.ts'

export { Argument, Command, InvalidArgumentError, Option } from 'commander'

/** Codes that are the caller's mistake exit with 2, everything else with 1. */
const usageCodes = new Set([
  'AUTHORITY_EXISTS',
  'AUTHORITY_MISSING',
  'CONFIG_EXISTS',
  'CONFIG_INVALID',
  'CSV_INVALID',
  'EXPORT_INVALID',
  'IDENTIFIER_INVALID',
  'IDENTITY_EXISTS',
  'IDENTITY_UNKNOWN',
  'BACKUP_INVALID',
  'RESTORE_REFUSED',
  'ROLLOUT_INVALID',
  'ROLLOUT_UNKNOWN',
])

/** A program that reports mistakes in one line. */
export function createProgram(name: string, description: string): Command {
  return new Command(name)
    .description(description)
    .exitOverride()
    .configureOutput({
      outputError: (text, write) => write(`${text.trim().replace(/\s*\n\s*/g, ' ')} (--help lists the options)\n`),
    })
}

/** Parses the command line and runs it; a mistake ends in one line on standard error and a non-zero exit. */
export async function runProgram(program: Command, argv: readonly string[] = process.argv): Promise<void> {
  installLastResort()
  try {
    await program.parseAsync([...argv])
  } catch (thrown) {
    if (thrown instanceof CommanderError) {
      // Commander has printed its message already; --help and --version are no mistakes.
      process.exitCode = thrown.exitCode === 0 ? 0 : 2
      return
    }
    reportError(thrown)
    // A failed start may leave sockets open, which would keep the process alive with nothing to do.
    process.exit(process.exitCode)
  }
}

/** Prints one line and sets the exit code. */
export function reportError(thrown: unknown): void {
  const error = toFaultlineError(thrown)
  process.stderr.write(`error ${error.code}: ${error.message}\n`)
  if (error.code === 'INTERNAL' && error.cause instanceof Error) process.stderr.write(`${error.cause.stack}\n`)
  process.exitCode = usageCodes.has(error.code) ? 2 : 1
}

/** The path a person means: npm runs a script in the package's directory, not in the one the person is in. */
export const fromCaller = (path: string): string => resolve(process.env.INIT_CWD ?? '.', path)

/** Option parsers: each refuses with what it wanted. */
export function parseInteger(minimum: number, maximum = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return text => {
    const value = Number(text)
    if (text.trim() !== '' && Number.isInteger(value) && value >= minimum && value <= maximum) return value
    throw new InvalidArgumentError(
      `Give a whole number from ${minimum}${maximum === Number.MAX_SAFE_INTEGER ? '' : ` to ${maximum}`}.`,
    )
  }
}

export function parsePositive(text: string): number {
  const value = Number(text)
  if (text.trim() !== '' && Number.isFinite(value) && value > 0) return value
  throw new InvalidArgumentError('Give a number above 0.')
}

/** Seconds that a timer can wait for. */
export function parseSeconds(text: string): number {
  const value = parsePositive(text)
  const maximum = Math.floor(maxTimerMs / 1_000)
  if (value <= maximum) return value
  throw new InvalidArgumentError(`Give a number above 0, at most ${maximum}.`)
}

export function parseBrokerUrl(text: string): string {
  if (/^(mqtts?|wss?):$/.test(URL.canParse(text) ? new URL(text).protocol : '')) return text
  throw new InvalidArgumentError('Give an address such as mqtt://broker.local:1883.')
}

/** Turns the system error of a failed `listen` into one that says what to do. */
export function listenError(thrown: unknown, what: string, port: number): FaultlineError {
  const code = (thrown as NodeJS.ErrnoException).code
  if (code === 'EADDRINUSE')
    return new FaultlineError('ADDRESS_IN_USE', `${what}: port ${port} is taken`, { cause: thrown })
  if (code === 'EACCES')
    return new FaultlineError('ADDRESS_IN_USE', `${what}: not allowed to listen on port ${port}`, { cause: thrown })
  return toFaultlineError(thrown, 'INTERNAL', what)
}
