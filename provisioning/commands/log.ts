import { type Command, InvalidArgumentError, parseInteger } from '@faultline/runtime'
import { renderTable } from '../table.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface Flags {
  registry: string
  name?: string
  since?: string
  last: number
}

export function addLog(program: Command): void {
  withRegistry(program.command('log'))
    .description('show who changed what and when, oldest first')
    .option('--name <name>', 'of one identity; `registry` is what concerns all')
    .option('--since <time>', 'such as 2026-03-01 or 2026-03-01T12:00Z', parseTime)
    .option('--last <count>', 'the newest so many', parseInteger(1), 100)
    .action(log)
}

async function log({ registry: path, name, since, last }: Flags): Promise<void> {
  await withOpen(path, registry => {
    const entries = registry.history({ name, since, limit: last })
    if (entries.length === 0) return say('no changes')
    const rows = entries.map(({ at, action, name: whose, actor, detail = '' }) => [at, whose, action, actor, detail])
    say(renderTable(['at', 'what', 'was', 'by', ''], rows))
  })
}

function parseTime(text: string): string {
  const time = Date.parse(text)
  if (Number.isNaN(time)) throw new InvalidArgumentError('Give a time such as 2026-03-01.')
  return new Date(time).toISOString()
}
