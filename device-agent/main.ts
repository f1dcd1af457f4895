import { bearingFrom } from '@faultline/inference'
import {
  createLogger,
  createProgram,
  loadConfig,
  runProgram,
  runService,
  ServiceGroup,
  ServiceManager,
  version,
} from '@faultline/runtime'
import { DeviceAgent } from './agent.ts'
import { deviceAgentConfig } from './config.ts'
import { unwritable } from './data-directory.ts'
import { ShaftSource } from './sources/mqtt/shaft-source.ts'
import { PointSources } from './sources/point-sources.ts'
import { statusPageOf } from './status-page/status-page.ts'
import { checkStart, openUpdates } from './updates/open.ts'

const program = createProgram('npm run device-agent --', 'Runs the device agent until it is told to stop.')
  .version(version)
  .requiredOption('--config <file>', 'configuration, as enrolment wrote it')
  .option('--check', 'only try whether it could: read the configuration, run the model on its golden inputs')
  .allowExcessArguments(false)
  .action(run)

async function run({ config: file, check }: { config: string; check?: boolean }): Promise<void> {
  const config = await loadConfig(deviceAgentConfig, file)
  if (check) return checkStart(config)
  const logger = createLogger('device-agent')
  // Before the model, whose engines take minutes to try on a small device.
  const error = unwritable(config.dataDirectory)
  if (error)
    logger.error({ code: error.code, error: error.message }, 'the data directory takes nothing; starting without it')
  const replaced = new AbortController()
  const { current, agentDigest, problems, updaterFor } = await openUpdates(config, logger, {
    configuration: file,
    restart: () => replaced.abort(),
  })
  const { input } = current
  const sources = new PointSources(input, current.model.classes, (point, assumption) =>
    logger.warn({ point }, assumption),
  )
  const points = await Promise.all(
    config.points.map(async ({ bearing, shaft, ...point }) => {
      const source = await sources.open(point.point, point.source)
      return {
        ...point,
        source: shaft ? new ShaftSource(source, shaft, logger.child({ point: point.point })) : source,
        ...(bearing && { bearing: bearingFrom(bearing) }),
      }
    }),
  )
  const updater = updaterFor(() => agent)
  const agent: DeviceAgent = new DeviceAgent({
    ...config,
    points,
    sources,
    classifier: current.model,
    enginesRejected: current.enginesRejected,
    updates: updater,
    agentDigest,
    problems,
    logger,
  })
  const page =
    config.statusPage &&
    statusPageOf({ ...config, agent, points, model: () => current.model }, config.statusPage, logger)
  const manager = new ServiceManager({
    failed: ({ message }) => logger.warn({ error: message }, 'systemd cannot be told'),
  })
  const services = [agent, updater, ...(page ? [page] : []), manager]
  await runService(new ServiceGroup(services), { logger, signal: replaced.signal })
  await current.dispose()
}

await runProgram(program)
