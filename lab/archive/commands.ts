import { FaultlineError } from '@faultline/protocol'
import { type Command, parseInteger, writeText } from '@faultline/runtime'
import { ArchiveReader } from '@faultline/server-agent'
import { exportDataset } from './export.ts'
import { applyFindings, type Finding, readFindings, worklist } from './labels.ts'
import { summaryOf } from './summary.ts'

interface LabelOptions {
  id?: string
  machine?: string
  from?: string
  to?: string
  label?: string
  by?: string
  csv?: string
  list?: string
  limit: number
  task?: string
}

const labelExamples = `
Examples:
  Write down the 50 windows that are worth most, fill in the columns label and by, and give the file back
    npm run models -- label archive/ --list open.csv --limit 50
    npm run models -- label archive/ --csv open.csv

  What was found when a machine was opened
    npm run models -- label archive/ --machine plant-a/press-3 --from 2026-03-01 --to 2026-03-09 --label inner-race --by ada
`

/** `models -- label` and `models -- dataset`. */
export function addArchiveCommands(program: Command): void {
  program
    .command('label')
    .description("give windows in a server agent's archive the labels that a person found; the agent may run meanwhile")
    .argument('<archive...>', 'directories of archives')
    .option('--list <file>', 'writes the windows that nobody has labelled as CSV, those worth most first')
    .option('--limit <windows>', 'how many --list writes', parseInteger(1), 100)
    .option('--task <task>', 'of which task --list writes')
    .option('--csv <file>', 'labels what a file says: label, by, and id or site, machine, from, to')
    .option('--id <id>', 'labels one window')
    .option('--machine <site/machine>', 'labels the windows of a machine that came from --from until before --to')
    .option('--from <time>', 'as 2026-03-01 or 2026-03-01T08:00:00Z')
    .option('--to <time>', 'as --from')
    .option('--label <label>', 'what was found: a class of the server model')
    .option('--by <name>', 'who found it')
    .addHelpText('after', labelExamples)
    .action(async (archives: string[], options: LabelOptions) => {
      process.stdout.write(await label(archives, options))
    })

  program
    .command('dataset')
    .description("export a server agent's archive as a data set that training, calibration and import read")
    .argument('<archive...>', 'directories of archives')
    .requiredOption('--out <directory>', 'where it goes; not there yet')
    .option('--task <task>', 'where the archives hold several')
    .option('--human', 'only windows that a person has labelled; otherwise the answer of the server stands in')
    .option('--seed <number>', 'divides the machines into train, validation and test', parseInteger(0), 1)
    .action(async (archives: string[], options: { out: string; task?: string; human?: boolean; seed: number }) => {
      const { human: humanOnly = false, ...others } = options
      process.stdout.write(summaryOf(await exportDataset({ archives, humanOnly, ...others })))
    })
}

async function label(directories: readonly string[], options: LabelOptions): Promise<string> {
  const archives: ArchiveReader[] = []
  try {
    for (const directory of directories) archives.push(ArchiveReader.open(directory))
    const { list, limit, task } = options
    if (list !== undefined) {
      const text = worklist(archives, limit, task)
      await writeText(list, () => text)
      return `${list}: ${text.trim().split('\n').length - 1} windows to label\n`
    }
    const { findings, names } = await findingsOf(options)
    const count = applyFindings(archives, findings, names, new Date().toISOString())
    return `${count} ${count === 1 ? 'window' : 'windows'} labelled\n`
  } finally {
    for (const archive of archives) archive.close()
  }
}

async function findingsOf(options: LabelOptions): Promise<{ findings: Finding[]; names: string[] }> {
  const { csv, id, machine, from, to, label, by } = options
  const given = [csv, id, machine].filter(option => option !== undefined)
  if (given.length !== 1) throw new FaultlineError('CONFIG_INVALID', 'give one of --list, --csv, --id and --machine')
  if (csv !== undefined) return readFindings(csv, by)
  if (label === undefined || by === undefined) throw new FaultlineError('CONFIG_INVALID', 'give --label and --by')
  if (id !== undefined) return { findings: [{ what: { id }, label, by }], names: ['--id'] }
  const [site, name, ...rest] = machine!.split('/')
  if (!site || !name || rest.length > 0 || from === undefined || to === undefined)
    throw new FaultlineError('CONFIG_INVALID', 'give --machine as SITE/MACHINE, with --from and --to')
  return { findings: [{ what: { site, machine: name, from, to }, label, by }], names: ['--machine'] }
}
