import {
  createLogger,
  createProgram,
  type DatabaseFailure,
  databaseFailure,
  loadConfig,
  Operations,
  runProgram,
  runService,
  type Service,
  ServiceGroup,
  version,
} from '@faultline/runtime'
import { createStore, type RecorderConfig, recorderConfig, recorderIdentity } from './config.ts'
import { RecorderMetrics } from './metrics.ts'
import { Recorder } from './recorder.ts'
import type { TelemetryStore } from './store.ts'

const program = createProgram('npm run recorder --', 'Writes what the fleet publishes into SQLite or InfluxDB.')
  .version(version)
  .option(
    '--config <file>',
    'YAML: broker, store, spool, operations; without it everything comes from FAULTLINE_… variables',
  )
  .allowExcessArguments(false)
  .action(run)

async function run(flags: { config?: string }): Promise<void> {
  const { broker, store: settings, normal, batch, spool, operations } = await loadConfig(recorderConfig, flags.config)
  const identity = recorderIdentity(broker.identity)
  const logger = createLogger('recorder')
  const store = createStore(settings, { logger })
  const { directory, maxMegabytes, maxAgeHours } = spool
  const recorder = new Recorder({
    broker: { ...broker, identity },
    store,
    logger,
    normal,
    batch,
    spool: { directory, maxBytes: maxMegabytes * 1e6, maxAgeMs: maxAgeHours * 3_600_000 },
  })
  const services: Service[] = [serviceOf(store, settings, recorder), recorder]
  if (operations) {
    const registries = [new RecorderMetrics(recorder).registry]
    // Before the others and until after them, so that they can be seen to start and to stop.
    services.unshift(new Operations({ ...operations, registries, logger, notReady: () => recorder.notReady() }))
  }
  await runService(new ServiceGroup(services), { logger })
  logger.info(recorder.counts, 'recorder stopped')
}

/** What a store on disk may fail with at the start and recover from by itself. */
const passing: readonly DatabaseFailure[] = ['full', 'io', 'locked']

/** A server that is away at the start, or a disk that is full, is as one that goes away later. Other failures are mistakes. */
function serviceOf(store: TelemetryStore, { kind }: RecorderConfig['store'], recorder: Recorder): Service {
  return {
    start: () =>
      store.start().catch((thrown: Error) => {
        if (kind === 'sqlite' && !passing.includes(databaseFailure(thrown))) throw thrown.cause ?? thrown
        recorder.queue.storeAway(thrown)
      }),
    stop: () => store.stop(),
  }
}

await runProgram(program)
