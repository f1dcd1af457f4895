import { FaultlineError, type LoadedModel } from '@faultline/protocol'
import { BatchTimes } from './batch-times.ts'
import { classifyJobs, type Job, type ServerModel } from './job.ts'
import type { ModelHost, ServedModel, Worker } from './model-host.ts'

/**
 * One worker in this very process: for a fleet on one machine, where a process for each core would be too many. A native
 * engine that crashes takes the process with it. The models are not disposed of.
 */
export class InProcessHost implements ModelHost {
  readonly models: ReadonlyMap<string, ServedModel>
  readonly shadows: ReadonlyMap<string, ServedModel> = new Map()
  readonly workers: readonly Worker[]
  readonly shadowWorker = undefined
  readonly failures = 0

  constructor(
    models: readonly ServerModel[],
    enginesRejected: ReadonlyMap<string, LoadedModel['enginesRejected']> = new Map(),
  ) {
    this.models = new Map(
      models.map(({ model, task, engine, classes, bundle }) => [
        task,
        {
          model,
          task,
          engine,
          classes,
          description: bundle?.description,
          enginesRejected: enginesRejected.get(task) ?? [],
          times: new BatchTimes(),
        },
      ]),
    )
    const byDigest = new Map(models.map(model => [model.model.digest, model]))
    const classify = async (digest: string, jobs: readonly Job[]) => {
      const model = byDigest.get(digest)
      if (!model) throw new FaultlineError('INTERNAL', `there is no model ${digest}`)
      return classifyJobs(model, jobs)
    }
    this.workers = [{ ready: true, classify }]
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  onChange(): void {}
}
