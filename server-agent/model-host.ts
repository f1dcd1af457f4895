import type { BundleDescription } from '@faultline/inference'
import type { LoadedModel, ModelReference } from '@faultline/protocol'
import type { Service } from '@faultline/runtime'
import type { BatchTimes } from './batch-times.ts'
import type { BatchResult, Job } from './job.ts'

/** A model as the agent knows it: the network itself is in the workers. */
export interface ServedModel {
  readonly model: ModelReference
  readonly task: string
  /** What its probabilities stand for, in order. */
  readonly classes: readonly string[]
  readonly engine: string
  /** What its bundle says, where it has one. */
  readonly description?: BundleDescription | undefined
  /** Engines tried before, and why each was passed over. */
  readonly enginesRejected: LoadedModel['enginesRejected']
  readonly times: BatchTimes
}

/** Runs one batch at a time. */
export interface Worker {
  /** False while it starts, and after it failed until it is back. */
  readonly ready: boolean
  /**
   * Takes a batch through the model with this digest. Rejects with `WORKER_FAILED` when the worker ended, or did not answer in time
   * and was ended: then any window of the batch may have done it.
   */
  classify(digest: string, jobs: readonly Job[]): Promise<BatchResult>
}

/** Where models run: workers that all have the same models, and one for shadows. */
export interface ModelHost extends Service {
  /** By task: those whose answers are sent. */
  readonly models: ReadonlyMap<string, ServedModel>
  /** By task: those that are asked beside them, and whose answers nobody is sent. */
  readonly shadows: ReadonlyMap<string, ServedModel>
  readonly workers: readonly Worker[]
  /** Has the shadows, and nothing else; undefined where no task can have one. */
  readonly shadowWorker: Worker | undefined
  /** Workers that ended unasked, since the start. */
  readonly failures: number
  /** Calls back whenever a worker becomes ready, or other models are served. */
  onChange(listener: () => void): void
}
