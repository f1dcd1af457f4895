import {
  createLogger,
  createProgram,
  type Logger,
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
  const store = createStore(settings)
  const logger = createLogger('recorder')
  const { directory, maxMegabytes, maxAgeHours } = spool
  const recorder = new Recorder({
    broker: { ...broker, identity },
    store,
    logger,
    normal,
    batch,
    spool: { directory, maxBytes: maxMegabytes * 1e6, maxAgeMs: maxAgeHours * 3_600_000 },
  })
  const services: Service[] = [serviceOf(store, settings, logger), recorder]
  if (operations) {
    const registries = [new RecorderMetrics(recorder).registry]
    // Before the others and until after them, so that they can be seen to start and to stop.
    services.unshift(new Operations({ ...operations, registries, logger, notReady: () => recorder.notReady() }))
  }
  await runService(new ServiceGroup(services))
  logger.info(recorder.counts, 'recorder stopped')
}

/** A file that cannot be opened is a mistake. A server that is away at the start is as one that goes away later. */
function serviceOf(store: TelemetryStore, { kind }: RecorderConfig['store'], logger: Logger): Service {
  if (kind === 'sqlite') return store
  return {
    start: () =>
      store.start().catch((error: Error) => {
        logger.warn({ code: 'STORE_FAILED', error: error.message }, 'the telemetry store is away')
      }),
    stop: () => store.stop(),
  }
}

await runProgram(program)
