import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Description, describeDirectory } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { type Command, fromCaller } from '@faultline/runtime'

/** `data describe DIR`. */
export function addData(program: Command): void {
  program
    .command('data')
    .description('recordings of your own')
    .command('describe <directory>')
    .description('write manifest.json for the recordings in a directory, and show what was guessed for it')
    .option('--rate-hz <number>', 'sampling rate of files that do not state one', positive)
    .option('--rpm <number>', 'shaft speed of all of them', positive)
    .option('--unit <unit>', 'unit of their samples: g, m/s2, mm/s, um or V')
    .option('--column <name>', 'the only column to list, by name or number')
    .option('--variable <name>', 'the variable of MATLAB files')
    .option('--dry-run', 'show it and write nothing')
    .action(describe)
}

interface Flags {
  rateHz?: number
  rpm?: number
  unit?: string
  column?: string
  variable?: string
  dryRun?: true
}

function positive(text: string): number {
  const value = Number(text)
  if (!(value > 0)) throw new FaultlineError('CONFIG_INVALID', `"${text}" is not a number above 0`)
  return value
}

async function describe(path: string, { dryRun, ...options }: Flags): Promise<void> {
  const directory = fromCaller(path)
  const description = await describeDirectory(directory, options)
  show(description)
  if (dryRun) return
  const file = join(directory, 'manifest.json')
  const lines = description.entries.map(entry => `  ${JSON.stringify(entry)}`)
  try {
    await writeFile(file, `[\n${lines.join(',\n')}\n]\n`, { flag: 'wx' })
  } catch (cause) {
    const exists = (cause as NodeJS.ErrnoException).code === 'EEXIST'
    throw toFaultlineError(cause, exists ? 'CONFIG_EXISTS' : 'OUTPUT_UNWRITABLE', file)
  }
  say(`${file}: ${description.entries.length} recordings`)
}

function show({ entries, guesses, passedOver }: Description): void {
  for (const { file, column, class: label, rpm, samplingRateHz, samples, unit } of entries) {
    const place = column == null ? file : `${file} column ${column}`
    const speed = rpm == null ? 'speed not known' : `${rpm} rpm`
    say(
      `${place}: ${label ?? 'class not known'}, ${speed}, ${samples} samples at ${samplingRateHz} Hz, ${unit ?? 'unit not known'}`,
    )
  }
  if (guesses.length > 0) say('guessed, please check:')
  for (const guess of guesses) say(`  ${guess}`)
  if (passedOver.length > 0) say('passed over:')
  for (const reason of passedOver) say(`  ${reason}`)
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
