import {
  checkOutput,
  createProgram,
  Progress,
  parseInteger,
  parsePositive,
  parseSeconds,
  runProgram,
  writeJson,
} from '@faultline/runtime'
import { faultsOf, textOf } from './report.ts'
import { Soak } from './soak.ts'

interface Flags {
  kills: number
  minutes: number
  seed?: number
  quiet: number
  cluster: boolean
  killRedis: boolean
  memory: boolean
  json?: string
}

const program = createProgram(
  'npm run soak --',
  `Kills a broker with SIGKILL at random moments while clients publish and subscribe, a tenth of the times with a full disk,
and reports what was acknowledged and lost, and what of QoS 2 was delivered twice. Exits with 1 when there is any.`,
)
  .option('--kills <n>', 'how often the broker is killed', parseInteger(1), 100)
  .option('--minutes <n>', 'kill no more after so long', parsePositive, 600)
  .option('--seed <n>', 'of the random moments; another in every run when absent', parseInteger(0, 2 ** 32))
  .option(
    '--quiet <s>',
    'what has not arrived when nothing has for so long, after the last kill, is lost',
    parseSeconds,
    30,
  )
  .option('--cluster', 'two brokers over one Redis, of which one is killed at a time; no full disk', false)
  .option('--kill-redis', 'with --cluster: every tenth kill is one of the Redis', false)
  .option('--memory', 'a broker that forgets everything when it is killed, to see that this is noticed', false)
  .option('--json <file>', 'also write the report to a file')
  .allowExcessArguments(false)
  .action(run)

async function run(flags: Flags): Promise<void> {
  const { kills, minutes, quiet, seed = Date.now() % 1_000_000, cluster, killRedis, memory, json } = flags
  await checkOutput(json)
  const interrupted = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => interrupted.abort())
  const bar = new Progress('kills', kills)
  const soak = new Soak({
    kills,
    seed,
    maxMs: minutes * 60_000,
    quietMs: quiet * 1_000,
    cluster,
    killRedis,
    memory,
    signal: interrupted.signal,
    progress: (done, acknowledged) => bar.update(done, `${acknowledged} messages acknowledged`),
  })
  const report = await soak.run().finally(() => bar.stop())
  process.stdout.write(textOf(report))
  await writeJson(json, report)
  if (faultsOf(report).length > 0) process.exitCode = 1
}

await runProgram(program)
