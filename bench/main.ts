import { FaultlineError } from '@faultline/protocol'
import { checkOutput, createProgram, runProgram, writeJson } from '@faultline/runtime'
import type { Benchmark } from './benchmark.ts'
import { brokerBenchmark } from './broker.ts'
import { dashboardBenchmark } from './dashboard.ts'
import { deviceBenchmark } from './device.ts'
import { inferenceBenchmark } from './inference.ts'
import { policiesBenchmark } from './policies.ts'
import { serverBenchmark } from './server/server.ts'
import { tableOf } from './table.ts'
import { telemetryBenchmark } from './telemetry.ts'

const benchmarks: Record<string, Benchmark> = {
  broker: brokerBenchmark,
  dashboard: dashboardBenchmark,
  device: deviceBenchmark,
  inference: inferenceBenchmark,
  policies: policiesBenchmark,
  server: serverBenchmark,
  telemetry: telemetryBenchmark,
}

const list = Object.entries(benchmarks)
  .map(([name, { description }]) => `  ${name.padEnd(12)} ${description}`)
  .join('\n')

const program = createProgram('npm run bench --', 'Measure Faultline beside references, in one run')
  .argument('<name>', 'the benchmark to run')
  .option('--quick', 'broker, server: a first look in seconds, too short for its figures to count', false)
  .option('--json <file>', 'also write the rows to a file, as {"rows": [...]}')
  .addHelpText('after', `\nBenchmarks:\n${list}`)
  .action(async (name: string, { json, quick }: { json?: string; quick: boolean }) => {
    const benchmark = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined
    if (!benchmark)
      throw new FaultlineError(
        'CONFIG_INVALID',
        `there is no benchmark "${name}"; there are: ${Object.keys(benchmarks).join(', ')}`,
      )
    await checkOutput(json)
    const { rows, notes } = await benchmark.run({ quick })
    process.stdout.write(`${[tableOf(rows), ...notes].join('\n')}\n`)
    await writeJson(json, { rows })
    process.exit() // See FlowRunner.stop.
  })

await runProgram(program)
