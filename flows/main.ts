import { createLogger, createProgram, loadConfig, runProgram, runService, version } from '@faultline/runtime'
import { flowsConfig, flowsIdentity } from './config.ts'
import { FlowRunner } from './runner.ts'

const program = createProgram('npm run flows --', 'Runs Node-RED with the alarms and the dashboard of the fleet.')
  .version(version)
  .option('--config <file>', 'YAML: userDirectory, broker; without it everything comes from FAULTLINE_… variables')
  .allowExcessArguments(false)
  .action(run)

async function run(flags: { config?: string }): Promise<void> {
  const { broker, ...options } = await loadConfig(flowsConfig, flags.config)
  const identity = flowsIdentity(broker.identity)
  const logger = createLogger('flows')
  await runService(new FlowRunner({ ...options, broker: { ...broker, identity }, logger }))
  process.exit() // See FlowRunner.stop.
}

await runProgram(program)
