import { readFile } from 'node:fs/promises'
import { toFaultlineError } from '@faultline/protocol'
import {
  type Command,
  checkOutput,
  InvalidArgumentError,
  parseInteger,
  parsePositive,
  writeJson,
  writeText,
} from '@faultline/runtime'
import { filledPage, markdownTable, plainTable } from '../../report/table.ts'
import { evaluateImages, type ImageEvaluation } from './evaluation.ts'
import { defaultDevice } from './expense.ts'
import { findingsOf } from './findings.ts'
import { defaultLinks, type Link, parseLinks } from './links.ts'
import { imageReport } from './report.ts'
import { tablesOf } from './tables.ts'

interface Flags {
  data: string
  models: string
  links?: readonly Link[]
  deviceFactor: number
  deviceWatts: number
  seed: number
  json?: string
  html?: string
  markdown?: string
}

/** Adds `images`: never, always, hierarchical inference and DNN partitioning side by side. */
export function addImagesCommand(program: Command, print: Print = text => process.stdout.write(text)): void {
  program
    .command('images')
    .description('image models: never, always, hierarchical inference and DNN partitioning side by side')
    .requiredOption('--data <directory>', 'CIFAR-10: the directory with test_batch.bin, or the one above cifar10/')
    .option('--models <directory>', 'where image-local and image-server are', 'models')
    .option(
      '--links <list>',
      'name:Mbit/s:round-trip-ms:µJ-per-byte:watts, with commas between (default: BLE, Wi-Fi and LTE)',
      parseLinkList,
    )
    .option('--device-factor <number>', 'how many times slower than a core here', parsePositive, defaultDevice.factor)
    .option('--device-watts <number>', 'what computing adds to idle power', parsePositive, defaultDevice.watts)
    .option('--seed <number>', 'the same seed gives the same figures, but for times', parseInteger(0), 1)
    .option('--json <file>', 'write every figure there too')
    .option('--html <file>', 'write a report with plots there, one file')
    .option('--markdown <file>', 'write the tables there, between the marks of a page that has them')
    .action((flags: Flags) => run(flags, print))
}

type Print = (text: string) => unknown

async function run(flags: Flags, print: Print): Promise<void> {
  const { json, html, markdown, deviceFactor, deviceWatts, links = defaultLinks, ...options } = flags
  for (const file of [json, html, markdown]) await checkOutput(file)
  const device = { factor: deviceFactor, watts: deviceWatts }
  const evaluation = await evaluateImages({ ...options, links, device })
  const { examples, ...figures } = evaluation
  print(terminalText(evaluation))
  await writeJson(json, figures)
  await writeText(html, () => imageReport(evaluation))
  if (markdown === undefined) return
  const page = await readFile(markdown, 'utf8').catch(cause => {
    throw toFaultlineError(cause, 'OUTPUT_UNWRITABLE', markdown)
  })
  await writeText(markdown, () => filledPage(page, markdownText(evaluation)))
}

function terminalText(evaluation: ImageEvaluation): string {
  const parts = [...tablesOf(evaluation).map(plainTable), ...findingsOf(evaluation), ...evaluation.notes]
  return `${parts.join('\n\n')}\n`
}

function markdownText(evaluation: ImageEvaluation): string {
  const { images, models, at, seed, notes } = evaluation
  const about = `${images} test images, ${models.local} and ${models.server}, seed ${seed}, run on ${at.slice(0, 10)}.`
  const findings = [...findingsOf(evaluation), ...notes].map(line => `- ${line}`).join('\n')
  return [about, findings, ...tablesOf(evaluation).map(markdownTable)].join('\n\n')
}

function parseLinkList(text: string): Link[] {
  const links = parseLinks(text)
  if (links) return links
  throw new InvalidArgumentError('Give name:Mbit/s:round-trip-ms:µJ-per-byte:watts, with commas between links.')
}
