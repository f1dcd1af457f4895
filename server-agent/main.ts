import {
  createLogger,
  createProgram,
  loadConfig,
  runProgram,
  runService,
  ServiceGroup,
  version,
} from '@faultline/runtime'
import { ServerAgent } from './agent.ts'
import { serverAgentConfig } from './config.ts'
import { ProcessHost } from './process-host.ts'

const program = createProgram('npm run server-agent --', 'Runs the server agent until it is told to stop.')
  .version(version)
  .requiredOption('--config <file>', 'configuration')
  .allowExcessArguments(false)
  .action(run)

async function run({ config: file }: { config: string }): Promise<void> {
  const {
    models: directories,
    engine,
    trustedKeys: trusted,
    workers,
    ...config
  } = await loadConfig(serverAgentConfig, file)
  const logger = createLogger('server-agent')
  const { maxBatch } = config
  const host = new ProcessHost({ directories, engine, trusted, workers, maxBatch, logger })
  await runService(new ServiceGroup([host, new ServerAgent({ ...config, host, logger })]))
}

await runProgram(program)
