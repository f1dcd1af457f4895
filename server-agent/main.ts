import { Classifier, chooseEngine, type EngineChoice, loadBundle } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import { createLogger, createProgram, loadConfig, runProgram, runService, version } from '@faultline/runtime'
import { ServerAgent } from './agent.ts'
import { type ServerAgentConfig, serverAgentConfig } from './config.ts'

const program = createProgram('npm run server-agent --', 'Runs the server agent until it is told to stop.')
  .version(version)
  .requiredOption('--config <file>', 'configuration')
  .allowExcessArguments(false)
  .action(run)

async function run({ config: file }: { config: string }): Promise<void> {
  const config = await loadConfig(serverAgentConfig, file)
  const logger = createLogger('server-agent')
  const classifiers = new Map<string, Classifier>()
  const enginesRejected = new Map<string, EngineChoice['rejected']>()
  for (const directory of config.models) {
    const choice = await engineFor(config, directory)
    const classifier = await Classifier.load(directory, { engine: choice.engine })
    const { task } = classifier
    if (classifiers.has(task)) throw new FaultlineError('CONFIG_INVALID', `two models for the task "${task}"`)
    logger.info({ task, engine: choice.engine, rejected: choice.rejected }, 'model loaded')
    classifiers.set(task, classifier)
    enginesRejected.set(task, choice.rejected)
  }
  await runService(new ServerAgent({ ...config, classifiers, enginesRejected, logger }))
  for (const classifier of classifiers.values()) await classifier.dispose()
}

async function engineFor({ engine }: ServerAgentConfig, directory: string): Promise<EngineChoice> {
  if (engine !== 'auto') return { engine, rejected: [] }
  return chooseEngine(await loadBundle(directory))
}

await runProgram(program)
