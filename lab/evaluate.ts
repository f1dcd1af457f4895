import { writeFile } from 'node:fs/promises'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { createProgram, runProgram } from '@faultline/runtime'
import { type BearingEvaluation, evaluateBearings } from './evaluation/bearings.ts'

const program = createProgram('evaluate', 'Measure the shipped models on recordings they never saw')
  .argument('<task>', 'what to evaluate: bearings')
  .requiredOption('--data <directory>', 'CWRU recordings: manifest.json with .f32 files, or original .mat files')
  .option('--models <directory>', 'where the bundles are', 'models')
  .option('--json <file>', 'write every figure there too')
  .action(async (task: string, options: { data: string; models: string; json?: string }) => {
    if (task !== 'bearings')
      throw new FaultlineError('CONFIG_INVALID', `there is nothing called "${task}" to evaluate; there is "bearings"`)
    const evaluation = await evaluateBearings(options.data, options.models)
    process.stdout.write(tableOf(evaluation))
    if (options.json) await writeJson(options.json, evaluation)
  })

await runProgram(program)

function tableOf({ local, server, hierarchical, rmsBaseline, engines }: BearingEvaluation): string {
  const percent = (value: number | null) => (value === null ? '-' : `${(100 * value).toFixed(1)} %`)
  const rows = [
    ['', 'accuracy', 'macro F1', 'escalated', 'false alarms', 'missed faults'],
    ...(
      [
        ['local', local, 0],
        ['server', server, 1],
        [`both, threshold ${hierarchical.threshold}`, hierarchical, hierarchical.escalated],
      ] as const
    ).map(([name, { accuracy, macroF1, falseAlarmRate, missedFaultRate }, escalated]) => [
      name,
      percent(accuracy),
      percent(macroF1),
      percent(escalated),
      percent(falseAlarmRate),
      percent(missedFaultRate),
    ]),
    [
      `RMS above ${rmsBaseline.limit.toFixed(3)} g`,
      '-',
      '-',
      '-',
      percent(rmsBaseline.falseAlarmRate),
      percent(rmsBaseline.missedFaultRate),
    ],
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  const lines = rows.map(row =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join('   '),
  )
  return `${local.windows} windows of the test side; local on ${engines.local}, server on ${engines.server}\n\n${lines.join('\n')}\n`
}

async function writeJson(path: string, evaluation: BearingEvaluation): Promise<void> {
  try {
    await writeFile(path, `${JSON.stringify(evaluation, null, 2)}\n`)
  } catch (cause) {
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE', path)
  }
}
