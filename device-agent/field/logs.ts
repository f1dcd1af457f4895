import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { FaultlineError } from '@faultline/protocol'
import { type Command, parseInteger } from '@faultline/runtime'
import { unit } from './installation.ts'

const levels: Record<number, string> = { 10: 'trace', 20: 'debug', 30: 'info', 40: 'WARN', 50: 'ERROR', 60: 'FATAL' }

export function addLogs(program: Command): void {
  program
    .command('logs')
    .description('what the agent wrote into the journal, one line each')
    .option('-f, --follow', 'go on as more comes')
    .option('-n, --lines <count>', 'how many of the last', parseInteger(1), 100)
    .action(logs)
}

async function logs({ follow, lines }: { follow?: boolean; lines: number }): Promise<void> {
  const args = ['-u', unit, '-o', 'cat', '-n', String(lines), ...(follow ? ['-f'] : ['--no-pager'])]
  const journal = spawn('journalctl', args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = once(journal, 'close').catch(cause => {
    throw new FaultlineError('INTERNAL', `journalctl does not start: ${(cause as Error).message}`)
  })
  createInterface(journal.stdout).on('line', text => process.stdout.write(`${readable(text)}\n`))
  process.on('SIGINT', () => journal.kill())
  const [code] = await ended
  process.exitCode = code ?? 0
}

/** A line of the agent's log for a person; what is no such line stays as it is: systemd's own, a crash. */
export function readable(text: string): string {
  let entry: Record<string, unknown>
  try {
    entry = JSON.parse(text) as Record<string, unknown>
  } catch {
    return text
  }
  if (typeof entry !== 'object' || entry === null || typeof entry.time !== 'number') return text
  const { level, time, msg = '', pid, hostname, name, ...rest } = entry
  const details = Object.entries(rest).map(([key, value]) => `${key}=${JSON.stringify(value)}`)
  const when = new Date(time as number).toISOString().slice(0, 19).replace('T', ' ')
  return [when, (levels[level as number] ?? String(level)).padEnd(5), msg, ...details].join(' ').trimEnd()
}
