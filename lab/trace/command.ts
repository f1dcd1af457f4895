import { policyNames } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import {
  type Command,
  checkOutput,
  InvalidArgumentError,
  Progress,
  parseInteger,
  writeJson,
  writeText,
} from '@faultline/runtime'
import { evaluateTrace, policiesOf, type TraceOptions } from './evaluation.ts'
import { rowsOf, traceTable } from './figures.ts'
import { evaluatePool, poolTable } from './pool.ts'
import { traceReport } from './report.ts'
import { readTrace, type Trace } from './trace.ts'

/** Beside every policy, so that its figures can be read: what we ship, and the two that never look. */
const references = ['default', 'never', 'always']

interface Flags {
  policy: string
  price: number[]
  seeds: number
  calibrate: number
  normal: string
  inOrder?: boolean
  pool?: number[]
  json?: string
  html?: string
}

/** Adds `trace FILE.csv`: what policies would have cost on windows whose truth is known. */
export function addTraceCommand(program: Command): void {
  program
    .command('trace')
    .description('what policies would have cost on a trace of predictions')
    .argument('<file>', 'CSV with the columns truth, p0, p1, … and perhaps remote')
    .option('--policy <names>', `all, or names with commas between: ${policyNames.join(', ')}`, 'all')
    .option('--price <numbers>', 'prices of an escalation, with commas between', parsePrices, [0.05, 0.1, 0.2, 0.3])
    .option('--seeds <number>', 'shuffles of the windows, each with its own lots', parseInteger(1, 1_000), 20)
    .option(
      '--calibrate <share>',
      'share of the windows, from the first, that is labelled and calibrates',
      parseShare,
      0,
    )
    .option('--normal <class>', 'number of the class that means nothing is wrong', '0')
    .option('--in-order', 'keep the order of the windows; seeds then change the lots alone')
    .option(
      '--pool <numbers>',
      'in place of all that: how a device begins after so many others have learned',
      parseCounts,
    )
    .option('--json <file>', 'write every figure there too')
    .option('--html <file>', 'write a report with plots there, one file')
    .action(run)
}

async function run(file: string, { policy, price, json, html, pool, ...flags }: Flags): Promise<void> {
  const policies = policiesOf(policy)
  const unknown = policies.find(name => !policyNames.includes(name))
  if (unknown !== undefined)
    throw new FaultlineError('POLICY_UNKNOWN', `there is no policy "${unknown}"; there are ${policyNames.join(', ')}`)
  const trace = await readTrace(file)
  if (!trace.classes.includes(flags.normal))
    throw new FaultlineError(
      'CONFIG_INVALID',
      `--normal ${flags.normal} is no class of ${file}, which has ${trace.classes.join(', ')}`,
    )
  const labelled = Math.round(flags.calibrate * trace.rows.length)
  if (labelled === trace.rows.length)
    throw new FaultlineError(
      'CONFIG_INVALID',
      `--calibrate ${flags.calibrate} leaves none of ${labelled} windows to decide on`,
    )
  await checkOutput(json)
  await checkOutput(html)
  if (pool) return beginnings(trace, pool, { prices: price, json, ...flags })
  const options: TraceOptions = { ...flags, policies: [...new Set([...policies, ...references])], prices: price }
  let progress: Progress | undefined
  options.onProgress = (done, total, detail) => {
    progress ??= new Progress(`replaying ${trace.name}`, total)
    progress.update(done, detail)
  }
  try {
    const evaluation = await evaluateTrace(trace, options)
    progress?.stop()
    process.stdout.write(traceTable(evaluation))
    await writeJson(json, rowsOf(evaluation))
    await writeText(html, () => traceReport(evaluation))
  } finally {
    progress?.stop()
  }
}

/** With `--pool`: cold starts and warm ones. */
async function beginnings(
  trace: Trace,
  devices: readonly number[],
  { json, ...options }: { prices: number[]; seeds: number; calibrate: number; json?: string },
): Promise<void> {
  let progress: Progress | undefined
  const onProgress = (done: number, total: number) => {
    progress ??= new Progress(`replaying ${trace.name}`, total)
    progress.update(done)
  }
  try {
    const figures = await evaluatePool(trace, { ...options, devices, onProgress })
    progress?.stop()
    if (!figures)
      throw new FaultlineError('TRACE_INVALID', `${trace.name}: too few windows for so many devices (--pool)`)
    process.stdout.write(poolTable(trace.name, figures))
    await writeJson(json, figures)
  } finally {
    progress?.stop()
  }
}

function parseCounts(text: string): number[] {
  const counts = text.split(',').map(part => (part.trim() === '' ? Number.NaN : Number(part)))
  if (counts.every(count => Number.isInteger(count) && count >= 0 && count <= 1_000)) return [...new Set(counts)]
  throw new InvalidArgumentError('Give numbers of devices with commas between; 0 is a cold start.')
}

export function parsePrices(text: string): number[] {
  const prices = text.split(',').map(part => (part.trim() === '' ? Number.NaN : Number(part)))
  if (prices.every(price => price >= 0 && price <= 1)) return [...new Set(prices)]
  throw new InvalidArgumentError('Give numbers from 0 to 1 with commas between.')
}

function parseShare(text: string): number {
  const share = text.trim() === '' ? Number.NaN : Number(text)
  if (share >= 0 && share < 1) return share
  throw new InvalidArgumentError('Give a share from 0 to below 1.')
}
