import { EventEmitter, once } from 'node:events'
import { type Escalation, encodeWindow, newId } from '@faultline/protocol'
import type { ModelHost, ServedModel, Worker } from '@faultline/server-agent'
import { BatchTimes } from '../../server-agent/batch-times.ts'
import type { BatchResult, Job } from '../../server-agent/job.ts'
import type { QueuedEscalation } from '../../server-agent/queue.ts'
import { sample, tinyTask, tinyWindow } from '../support/tiny-models.ts'

const digest = (task: string): string => `sha256:${Buffer.from(task).toString('hex').padEnd(64, '0').slice(0, 64)}`

const served = { classes: ['normal', 'fault'], engine: 'none', enginesRejected: [] }

/** The number of the worker that has the shadows. */
export const shadowWorker = -1

/** A batch that a worker has begun; a test ends it. */
export interface Begun {
  worker: number
  digest: string
  jobs: readonly Job[]
  /** Answers every window, as a fault where nothing else is said. */
  answer(label?: 'normal' | 'fault'): void
  fail(error: Error): void
}

/** Workers whose batches end when a test says so. */
export class FakeHost extends EventEmitter<{ begun: []; change: [] }> implements ModelHost {
  readonly models = new Map<string, ServedModel>()
  readonly shadows = new Map<string, ServedModel>()
  readonly workers: readonly (Worker & { ready: boolean })[]
  readonly shadowWorker: Worker & { ready: boolean }
  readonly begun: Begun[] = []
  failures = 0

  constructor({ workers = 1, tasks = [tinyTask], times = () => new BatchTimes() } = {}) {
    super()
    for (const task of tasks) {
      const model = { name: `fake-${task}`, version: '1.0.0', digest: digest(task) }
      this.models.set(task, { ...served, model, task, times: times() })
    }
    this.shadowWorker = { ready: true, classify: (digest, jobs) => this.begin(shadowWorker, digest, jobs) }
    this.workers = Array.from({ length: workers }, (_, worker) => ({
      ready: true,
      classify: (digest, jobs) => this.begin(worker, digest, jobs),
    }))
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {}

  onChange(listener: () => void): void {
    this.on('change', listener)
  }

  /** The batches begun, once there are so many. */
  async batches(count: number): Promise<Begun[]> {
    while (this.begun.length < count) await once(this, 'begun', { signal: AbortSignal.timeout(20_000) })
    return this.begun
  }

  /** A second model of a task, which is asked in shadow. */
  addShadow(task: string): ServedModel {
    const model = { name: `shadow-${task}`, version: '2.0.0', digest: digest(`shadow of ${task}`) }
    const shadow = { ...served, model, task, times: new BatchTimes() }
    this.shadows.set(task, shadow)
    return shadow
  }

  private begin(worker: number, digest: string, jobs: readonly Job[]): Promise<BatchResult> {
    return new Promise((resolve, reject) => {
      const answers = {
        normal: { label: 'normal', confidence: 0.8, probabilities: [0.8, 0.2] },
        fault: { label: 'fault', confidence: 0.9, probabilities: [0.1, 0.9] },
      }
      this.begun.push({
        worker,
        digest,
        jobs,
        answer: (label = 'fault') => resolve({ results: jobs.map(() => answers[label]), inferMs: 1 }),
        fail: reject,
      })
      this.emit('begun')
    })
  }
}

export interface ItemChanges extends Partial<Pick<Escalation, 'alarm' | 'task' | 'window'>> {
  patienceMs?: number
  bytes?: number
}

/** An escalation as the agent queues it. */
export function queued({ patienceMs = 60_000, bytes = 1_000, ...changes }: ItemChanges = {}): QueuedEscalation {
  const receivedAt = performance.now()
  const escalation: Escalation = {
    v: 1,
    id: newId(),
    at: new Date().toISOString(),
    machine: 'press-3',
    reason: 'below-threshold',
    deadline: new Date(Date.now() + patienceMs).toISOString(),
    task: tinyTask,
    local: { label: 'normal', confidence: 0.6, probabilities: [0.6, 0.4], digest: 'sha256:1111111111111111' },
    window: encodeWindow(tinyWindow(sample.fault)),
    ...changes,
  }
  const replyTo = { kind: 'verdict', site: 'plant-a', device: 'pi-1', point: 'motor-de' } as const
  return { escalation, replyTo, receivedAt, expiresAt: receivedAt + patienceMs, bytes, deaths: 0 }
}
