import { text } from 'node:stream/consumers'
import { FaultlineError } from '@faultline/protocol'
import { createLogger, createProgram, loadConfig, runProgram, runService, version } from '@faultline/runtime'
import { adminName } from './access/first-admin.ts'
import { packNodes } from './build.ts'
import { flowsConfig, flowsIdentity } from './config.ts'
import { FlowRunner } from './runner.ts'
import { hashPassword } from './users.ts'

const program = createProgram('npm run flows --', 'Runs Node-RED with the alarms and the dashboard of the fleet.')
  .version(version)
  .option('--config <file>', 'YAML: userDirectory, broker; without it everything comes from FAULTLINE_… variables')
  .allowExcessArguments(false)
  .action(run)

program
  .command('pack')
  .description('writes the nodes as a package, to install in a Node-RED of your own')
  .option('--out <dir>', 'where the file goes', '.')
  .action(async ({ out }: { out: string }) => {
    process.stdout.write(`${await packNodes(out)}\n`)
  })

program
  .command('hash-password')
  .description('reads a password from its input and prints what stands for it in `users`')
  .action(async () => {
    const [password] = (await text(process.stdin)).split('\n')
    if (!password) throw new FaultlineError('CONFIG_INVALID', 'no password: give one line on the input')
    process.stdout.write(`${await hashPassword(password)}\n`)
  })

async function run(flags: { config?: string }): Promise<void> {
  const { broker, ...options } = await loadConfig(flowsConfig, flags.config)
  const identity = flowsIdentity(broker.identity)
  const logger = createLogger('flows')
  const onFirstPassword = (password: string) =>
    process.stdout.write(
      `First start: log in as ${adminName} with ${password} (shown this once; only its hash is kept)\n`,
    )
  await runService(new FlowRunner({ ...options, broker: { ...broker, identity }, logger, onFirstPassword }), { logger })
  process.exit() // See FlowRunner.stop.
}

await runProgram(program)
