import { bearingFrom, loadClassifier } from '@faultline/inference'
import { createLogger, createProgram, loadConfig, runProgram, runService, version } from '@faultline/runtime'
import { DeviceAgent } from './agent.ts'
import { deviceAgentConfig } from './config.ts'
import { createSource } from './sources/create.ts'

const program = createProgram('npm run device-agent --', 'Runs the device agent until it is told to stop.')
  .version(version)
  .requiredOption('--config <file>', 'configuration, as enrolment wrote it')
  .allowExcessArguments(false)
  .action(run)

async function run({ config: file }: { config: string }): Promise<void> {
  const config = await loadConfig(deviceAgentConfig, file)
  const logger = createLogger('device-agent')
  const { classifier, enginesRejected } = await loadClassifier(config.model, {
    engine: config.engine,
    trusted: config.trustedKeys,
  })
  logger.info({ engine: classifier.engine, rejected: enginesRejected }, 'model loaded')
  const { input, classes } = classifier
  const points = await Promise.all(
    config.points.map(async ({ bearing, ...point }) => ({
      ...point,
      source: await createSource(point.source, input, classes),
      ...(bearing && { bearing: bearingFrom(bearing) }),
    })),
  )
  await runService(new DeviceAgent({ ...config, points, classifier, enginesRejected, logger }))
  await classifier.dispose()
}

await runProgram(program)
