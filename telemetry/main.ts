import {
  createLogger,
  createProgram,
  loadConfig,
  runProgram,
  runService,
  ServiceGroup,
  version,
} from '@faultline/runtime'
import { createStore, recorderConfig, recorderIdentity } from './config.ts'
import { Recorder } from './recorder.ts'

const program = createProgram('npm run recorder --', 'Writes what the fleet publishes into SQLite or InfluxDB.')
  .version(version)
  .option('--config <file>', 'YAML: broker, store; without it everything comes from FAULTLINE_… variables')
  .allowExcessArguments(false)
  .action(run)

async function run(flags: { config?: string }): Promise<void> {
  const { broker, store: settings, normal, batch, capacity } = await loadConfig(recorderConfig, flags.config)
  const identity = recorderIdentity(broker.identity)
  const store = createStore(settings)
  const logger = createLogger('recorder')
  const recorder = new Recorder({ broker: { ...broker, identity }, store, logger, normal, batch, capacity })
  await runService(new ServiceGroup([store, recorder]))
  logger.info(recorder.counts, 'recorder stopped')
}

await runProgram(program)
