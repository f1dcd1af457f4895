import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { chooseEngine, loadBundle, loadClassifier } from '@faultline/inference'
import { type Health, type Problem, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { DeviceAgentConfig } from '../config.ts'
import type { LocalModel } from '../decisions/assessment.ts'
import { backUpStorage } from '../spool/storage.ts'
import { AgentSubject, packageDigest } from './agent-subject.ts'
import { BundleSubject, bundlePath } from './bundle-subject.ts'
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
  { configuration, restart }: { configuration: string; restart: () => void },
): Promise<{
  current: CurrentModel
  agentDigest?: string
  /** What is wrong with the files that updates keep on the disk. */
  problems: () => Problem[]
  updaterFor: (agent: () => UpdatedAgent) => Updater
}> {
  const found: Problem[] = []
  /** What updates keep on the disk is nothing that the agent needs in order to run. */
  const attempt = async (what: string, work: () => unknown) => {
    try {
      await work()
    } catch (thrown) {
      const error = `${what}: ${toFaultlineError(thrown).message}`
      logger.error({ code: 'OUTPUT_UNWRITABLE', error }, 'no updates can be taken')
      found.push({ code: 'OUTPUT_UNWRITABLE', message: error, since: new Date().toISOString() })
    }
  }
  const { updates: directory, models } = directoriesOf(dataDirectory)
  await attempt(models, () => mkdirSync(models, { recursive: true }))
  // Set by the launcher of the agent package; without it nobody would start another version.
  const { AGENT_SOFTWARE: software, AGENT_DIRECTORY } = process.env
  if (software !== undefined) await attempt(software, () => mkdirSync(software, { recursive: true }))
  const running = packageDigest(AGENT_DIRECTORY)
  const backUp = () => backUpStorage(dataDirectory)
  const disk = new Disk()
  const journal = new Journal(directory, disk, configured)
  if (journal.damage !== undefined)
    await attempt(`${journal.path} is damaged`, async () => {
      const message = `${journal.path} was damaged (${journal.damage}) and is kept as ${await journal.setAside()}; the model of the configuration runs`
      logger.error({ code: 'UPDATE_DAMAGED', error: message }, 'a damaged journal of updates was set aside')
      found.push({ code: 'UPDATE_DAMAGED', message, since: new Date().toISOString() })
    })
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
    const agentSubject =
      software === undefined ? undefined : new AgentSubject({ software, running, disk, configuration, restart, backUp })
    return new Updater({
      directory,
      journal,
      disk,
      subjects: { bundle, ...(agentSubject && { agent: agentSubject }) },
      trusted,
      observe: () => observe(agent()),
      logger,
    })
  }
  return {
    current,
    problems: () => [...found, ...current.problems],
    updaterFor,
    ...(running !== undefined && { agentDigest: running }),
  }
}

/** What a new version is tried by: that it reads its configuration, and has an engine that runs the model in force. */
export async function checkStart({
  dataDirectory,
  model: configured,
  engine,
  trustedKeys,
}: DeviceAgentConfig): Promise<void> {
  const { updates, models } = directoriesOf(dataDirectory)
  const { model } = new Journal(updates, new Disk(), configured)
  const path = model === null ? configured : bundlePath(models, model)
  if (path === undefined) return
  const bundle = await loadBundle(path, { trusted: trustedKeys })
  await chooseEngine(bundle, engine === 'auto' ? {} : { order: [engine] })
}

const directoriesOf = (dataDirectory: string) => {
  const updates = join(dataDirectory, 'updates')
  return { updates, models: join(updates, 'models') }
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
