import type { InputDescription, LoadedClassifier } from '@faultline/inference'
import { type ErrorCode, type LoadedModel, type Problem, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { LocalModel } from '../decisions/assessment.ts'
import { UntrainedModel } from '../decisions/untrained-model.ts'
import { bundlePath, type ModelFit } from './bundle-subject.ts'
import type { Journal } from './journal.ts'

/** Starts in which a version may end before its probation does. */
export const mostStarts = 3

export interface CurrentModelOptions {
  journal: Journal
  /** Where models lie that came with updates. */
  directory: string
  /** Directory of the model that the configuration names. */
  configured: string | undefined
  /** Without a model. */
  task: string
  window: { samples: number; rateHz: number }
  /** Throws the coded errors of bundles and engines. */
  load: (directory: string) => Promise<LoadedClassifier>
  logger: Logger
}

/** The local model in force: that of the last update which stayed, or else that of the configuration. */
export class CurrentModel {
  private readonly options: CurrentModelOptions
  private loaded: LoadedClassifier | undefined
  private readonly untrained: UntrainedModel
  /** Models of updates that do not load. */
  readonly problems: Problem[] = []

  constructor(options: CurrentModelOptions) {
    this.options = options
    this.untrained = new UntrainedModel(options.task)
  }

  get model(): LocalModel {
    return this.loaded?.classifier ?? this.untrained
  }

  get enginesRejected(): LoadedModel['enginesRejected'] | undefined {
    return this.loaded?.enginesRejected
  }

  /** What windows it takes. */
  get input(): InputDescription | { samples: number; rateHz: number } {
    return this.loaded?.classifier.input ?? this.options.window
  }

  get fit(): ModelFit {
    const { input } = this
    const { model, task, classes } = this.model
    return {
      task,
      digest: this.loaded && model.digest,
      ...(this.loaded && { classes }),
      input: 'kind' in input && input.kind === 'image' ? { shape: input.shape } : (input as ModelFit['input']),
    }
  }

  /**
   * Loads the model to start with, and counts the start while it is on probation. One that does not load, or with which the
   * process ended again and again, gives way to the one before. Throws what loading the configuration's own model throws.
   */
  async open(): Promise<void> {
    const { journal, configured } = this.options
    try {
      await this.countStart()
    } catch (thrown) {
      // A full disk: the start is not counted, and the device runs all the same.
      const { message } = toFaultlineError(thrown)
      this.options.logger.error({ error: message }, 'the start of a version on probation was not counted')
    }
    const candidates = journal.model === null ? [] : [journal.model, journal.update?.before ?? null]
    for (const digest of new Set(candidates)) {
      if (digest === null) continue
      try {
        this.loaded = await this.options.load(bundlePath(this.options.directory, digest))
        return
      } catch (thrown) {
        const { code, message } = toFaultlineError(thrown)
        this.options.logger.error({ digest, code, error: message }, 'the model of an update does not load')
        this.problems.push({
          code,
          message: `the model of an update does not load: ${message}`,
          since: new Date().toISOString(),
        })
        if (this.onProbation) await this.goBack(code, message, journal.update!.before)
      }
    }
    if (configured !== undefined) this.loaded = await this.options.load(configured)
  }

  /**
   * Loads the model that the journal names, and only then has the agent go on with it.
   * Throws what loading it throws; nothing has changed then.
   */
  async exchange(use: (model: LocalModel, rejected: LoadedModel['enginesRejected']) => Promise<void>): Promise<void> {
    const { journal, directory, configured, load } = this.options
    const { loaded: old } = this
    const path = journal.model === null ? configured : bundlePath(directory, journal.model)
    this.loaded = path === undefined ? undefined : await load(path)
    await use(this.model, this.enginesRejected ?? [])
    await old?.classifier.dispose()
  }

  async dispose(): Promise<void> {
    await this.loaded?.classifier.dispose()
  }

  private get onProbation(): boolean {
    const { update } = this.options.journal
    return update?.state === 'probation' && update.offer.kind === 'bundle'
  }

  private async countStart(): Promise<void> {
    const { journal } = this.options
    const { update } = journal
    if (!update || !this.onProbation) return
    if (journal.model !== update.offer.digest)
      await this.goBack('UPDATE_WITHDRAWN', 'another model was configured', journal.model)
    else if (update.starts >= mostStarts)
      await this.goBack('UPDATE_CRASHED', `the agent ended ${update.starts} times on probation`, update.before)
    else await journal.change({ starts: update.starts + 1 })
  }

  private async goBack(code: ErrorCode, message: string, model: string | null): Promise<void> {
    const { journal, logger } = this.options
    logger.error({ code, error: message }, 'the update is rolled back')
    try {
      await journal.change({ state: 'rolled-back', error: { code, message } }, model)
    } catch (thrown) {
      logger.error({ error: toFaultlineError(thrown).message }, 'the rollback was not written down')
    }
  }
}
