import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { loadClassifier } from '@faultline/inference'
import type { Health } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { DeviceAgentConfig } from '../config.ts'
import type { LocalModel } from '../decisions/assessment.ts'
import { BundleSubject } from './bundle-subject.ts'
import { CurrentModel } from './current-model.ts'
import { Disk } from './disk.ts'
import { Journal } from './journal.ts'
import { Updater } from './updater.ts'

/** What an update sees of the agent, and has it do. */
export interface UpdatedAgent {
  readonly health: Health | undefined
  readonly online: boolean
  exchange(model: LocalModel, enginesRejected: CurrentModel['enginesRejected']): Promise<void>
}

/** The model in force, loaded, and who exchanges it. Throws the coded errors of bundles and engines. */
export async function openUpdates(
  { dataDirectory, model: configured, engine, trustedKeys: trusted, task, window }: DeviceAgentConfig,
  logger: Logger,
): Promise<{ current: CurrentModel; updaterFor: (agent: () => UpdatedAgent) => Updater }> {
  const directory = join(dataDirectory, 'updates')
  const models = join(directory, 'models')
  mkdirSync(models, { recursive: true })
  const disk = new Disk()
  const journal = new Journal(directory, disk, configured)
  const load = async (path: string) => {
    const loaded = await loadClassifier(path, { engine, trusted })
    logger.info({ engine: loaded.classifier.engine, rejected: loaded.enginesRejected }, 'model loaded')
    return loaded
  }
  const current = new CurrentModel({ journal, directory: models, configured, task, window, load, logger })
  await current.open()
  const updaterFor = (agent: () => UpdatedAgent) => {
    const exchange = () => current.exchange((model, rejected) => agent().exchange(model, rejected))
    const bundle = new BundleSubject({ directory: models, trusted, engine, disk, fit: () => current.fit, exchange })
    return new Updater({
      directory,
      journal,
      disk,
      subjects: { bundle },
      trusted,
      observe: () => observe(agent()),
      logger,
    })
  }
  return { current, updaterFor }
}

function observe({ health, online }: UpdatedAgent): ReturnType<ConstructorParameters<typeof Updater>[0]['observe']> {
  const audited = health?.audited ?? []
  return {
    audits: audited.reduce((sum, { audits }) => sum + audits, 0),
    wrong: audited.reduce((sum, { wrong }) => sum + wrong, 0),
    errors: health?.errors ?? 0,
    online,
  }
}
