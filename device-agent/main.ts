import { bearingFrom, type LoadedClassifier, loadClassifier } from '@faultline/inference'
import {
  createLogger,
  createProgram,
  type Logger,
  loadConfig,
  runProgram,
  runService,
  ServiceGroup,
  ServiceManager,
  version,
} from '@faultline/runtime'
import { DeviceAgent } from './agent.ts'
import { type DeviceAgentConfig, deviceAgentConfig } from './config.ts'
import { UntrainedModel } from './decisions/untrained-model.ts'
import { createSource } from './sources/create.ts'
import { ShaftSource } from './sources/mqtt/shaft-source.ts'
import { statusPageOf } from './status-page/status-page.ts'

const program = createProgram('npm run device-agent --', 'Runs the device agent until it is told to stop.')
  .version(version)
  .requiredOption('--config <file>', 'configuration, as enrolment wrote it')
  .allowExcessArguments(false)
  .action(run)

async function run({ config: file }: { config: string }): Promise<void> {
  const config = await loadConfig(deviceAgentConfig, file)
  const logger = createLogger('device-agent')
  const loaded = config.model === undefined ? undefined : await load(config.model, config, logger)
  const classifier = loaded?.classifier ?? new UntrainedModel(config.task)
  const input = loaded?.classifier.input ?? config.window
  const points = await Promise.all(
    config.points.map(async ({ bearing, shaft, ...point }) => {
      const source = await createSource(point.source, input, classifier.classes)
      return {
        ...point,
        source: shaft ? new ShaftSource(source, shaft, logger.child({ point: point.point })) : source,
        ...(bearing && { bearing: bearingFrom(bearing) }),
      }
    }),
  )
  const agent = new DeviceAgent({ ...config, points, classifier, enginesRejected: loaded?.enginesRejected, logger })
  const page =
    config.statusPage && statusPageOf({ ...config, agent, points, model: classifier }, config.statusPage, logger)
  const manager = new ServiceManager({
    failed: ({ message }) => logger.warn({ error: message }, 'systemd cannot be told'),
  })
  await runService(new ServiceGroup([agent, ...(page ? [page] : []), manager]))
  await loaded?.classifier.dispose()
}

async function load(
  directory: string,
  { engine, trustedKeys }: DeviceAgentConfig,
  logger: Logger,
): Promise<LoadedClassifier> {
  const loaded = await loadClassifier(directory, { engine, trusted: trustedKeys })
  logger.info({ engine: loaded.classifier.engine, rejected: loaded.enginesRejected }, 'model loaded')
  return loaded
}

await runProgram(program)
