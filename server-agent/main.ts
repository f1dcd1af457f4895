import {
  createLogger,
  createProgram,
  loadConfig,
  Operations,
  runProgram,
  runService,
  type Service,
  ServiceGroup,
  version,
} from '@faultline/runtime'
import { ServerAgent } from './agent.ts'
import { Archiver } from './archive/archiver.ts'
import { ArchiveMetrics } from './archive/metrics.ts'
import { serverAgentConfig } from './config.ts'
import { ServerMetrics } from './metrics.ts'
import { ProcessHost } from './process-host.ts'

const program = createProgram('npm run server-agent --', 'Runs the server agent until it is told to stop.')
  .version(version)
  .requiredOption('--config <file>', 'configuration')
  .allowExcessArguments(false)
  .action(run)

async function run(flags: { config: string }): Promise<void> {
  const config = await loadConfig(serverAgentConfig, flags.config)
  const { models: directories, routes, engine, trustedKeys: trusted, workers, operations, archive, ...others } = config
  const logger = createLogger('server-agent')
  const { maxBatch } = others
  const host = new ProcessHost({ directories, routes, engine, trusted, workers, maxBatch, logger })
  const archiver = archive && new Archiver({ ...archive, logger })
  const agent = new ServerAgent({ ...others, host, ...(archiver && { archiver }), logger })
  const services: Service[] = [host, ...(archiver ? [archiver] : []), agent]
  if (operations) {
    const registries = [new ServerMetrics(agent, host).registry]
    if (archiver) registries.push(new ArchiveMetrics(archiver).registry)
    // Before the others and until after them, so that it can be seen to start and to stop.
    services.unshift(new Operations({ ...operations, registries, logger, notReady: () => agent.notReady() }))
  }
  await runService(new ServiceGroup(services), { logger })
}

await runProgram(program)
