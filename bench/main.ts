import { writeFile } from 'node:fs/promises'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { createProgram, runProgram } from '@faultline/runtime'
import type { Benchmark } from './benchmark.ts'
import { inferenceBenchmark } from './inference.ts'
import { policiesBenchmark } from './policies.ts'
import { tableOf } from './table.ts'

const benchmarks: Record<string, Benchmark> = {
  inference: inferenceBenchmark,
  policies: policiesBenchmark,
}

const list = Object.entries(benchmarks)
  .map(([name, { description }]) => `  ${name.padEnd(12)} ${description}`)
  .join('\n')

const program = createProgram('bench', 'Measure Faultline beside references, in one run')
  .argument('<name>', 'the benchmark to run')
  .option('--json <file>', 'also write the rows to a file, as {"rows": [...]}')
  .addHelpText('after', `\nBenchmarks:\n${list}`)
  .action(async (name: string, { json }: { json?: string }) => {
    const benchmark = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined
    if (!benchmark)
      throw new FaultlineError(
        'CONFIG_INVALID',
        `there is no benchmark "${name}"; there are: ${Object.keys(benchmarks).join(', ')}`,
      )
    const { rows, notes } = await benchmark.run()
    process.stdout.write(`${[tableOf(rows), ...notes].join('\n')}\n`)
    if (json === undefined) return
    await writeFile(json, `${JSON.stringify({ rows }, null, 2)}\n`).catch(cause => {
      throw toFaultlineError(cause, 'CONFIG_UNREADABLE', json)
    })
  })

await runProgram(program)
