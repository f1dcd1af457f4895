import type { EngineName } from '@faultline/inference'
import type { FaultlineError } from '@faultline/protocol'
import type { BatchTime } from './batch-times.ts'
import type { BatchResult, Job } from './job.ts'

/** A bundle as a worker loads it. */
export interface ModelSource {
  directory: string
  digest: string
  /** As it was found to work here. */
  engine: EngineName
  trusted?: readonly string[] | undefined
}

/**
 * What the agent asks of a worker's process, over its channel. Both ends are this software, and buffers travel as they are
 * (`serialization: 'advanced'`), so nothing is parsed or checked.
 */
export type WorkerRequest = { id: number } & (
  | { kind: 'load'; source: ModelSource }
  | { kind: 'measure'; digest: string; maximum: number }
  | { kind: 'unload'; digest: string }
  | { kind: 'classify'; digest: string; jobs: readonly Job[] }
)

export interface WorkerReplies {
  load: undefined
  measure: BatchTime[]
  unload: undefined
  classify: BatchResult
}

export type WorkerReply = { id: number } & (
  | { ok: true; value: WorkerReplies[keyof WorkerReplies] }
  | { ok: false; code: FaultlineError['code']; message: string }
)
