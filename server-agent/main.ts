import { type Classifier, type LoadedClassifier, loadClassifier } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { createLogger, createProgram, loadConfig, runProgram, runService, version } from '@faultline/runtime'
import { ServerAgent } from './agent.ts'
import { serverAgentConfig } from './config.ts'

const program = createProgram('npm run server-agent --', 'Runs the server agent until it is told to stop.')
  .version(version)
  .requiredOption('--config <file>', 'configuration')
  .allowExcessArguments(false)
  .action(run)

async function run({ config: file }: { config: string }): Promise<void> {
  const config = await loadConfig(serverAgentConfig, file)
  const logger = createLogger('server-agent')
  const classifiers = new Map<string, Classifier>()
  const enginesRejected = new Map<string, LoadedClassifier['enginesRejected']>()
  for (const directory of config.models) {
    const { classifier, enginesRejected: rejected } = await loadClassifier(directory, {
      engine: config.engine,
      trusted: config.trustedKeys,
    })
    const { task } = classifier
    if (classifiers.has(task)) throw new FaultlineError('CONFIG_INVALID', `two models for the task "${task}"`)
    logger.info({ task, engine: classifier.engine, rejected }, 'model loaded')
    classifiers.set(task, classifier)
    enginesRejected.set(task, rejected)
  }
  await runService(new ServerAgent({ ...config, classifiers, enginesRejected, logger }))
  for (const classifier of classifiers.values()) await classifier.dispose()
}

await runProgram(program)
