import { once } from 'node:events'
import { join } from 'node:path'
import { Worker } from 'node:worker_threads'
import { type AnsweredVerdict, toFaultlineError } from '@faultline/protocol'
import type { Logger, Service } from '@faultline/runtime'
import type { QueuedEscalation } from '../queue.ts'
import type { ArchiveCounts } from './archive.ts'
import type { OtherAnswer } from './catalogue.ts'
import { type ArchiveConfig, keepingOf } from './config.ts'
import type { ArchiveReply, ArchiveRequest, NewWindow } from './messages.ts'

export interface ArchiverOptions extends ArchiveConfig {
  logger: Logger
  /** How often an archive that cannot be opened is tried again; 10 s when absent. */
  retryMs?: number
}

/** What is on its way to the disk, at most; more is dropped. */
const most = { windows: 1_024, bytes: 33_554_432, answers: 1_024 }
const closeMs = 10_000

/**
 * Hands windows and their verdicts to a thread that archives them. A disk that is slow, full or gone costs windows of the archive,
 * which are counted, and no verdict: nothing here waits for it.
 */
export class Archiver implements Service {
  counts: ArchiveCounts = { windows: 0, labelled: 0, bytes: 0 }
  written = 0
  /** `busy`: the disk did not keep up; `failed`: it refused them. */
  readonly dropped = { busy: 0, failed: 0 }
  private readonly options: ArchiverOptions
  private thread: Worker | undefined
  private retry: NodeJS.Timeout | undefined
  private readonly pending: number[] = []
  private pendingBytes = 0
  private pendingAnswers = 0
  /** Why no windows are archived now. */
  private failure = ''
  private stopped = true

  constructor(options: ArchiverOptions) {
    this.options = options
  }

  /** Begins to open the archive, which may take a while: what comes meanwhile waits. Where it does not open, it is tried again and again. */
  async start(): Promise<void> {
    this.stopped = false
    this.open()
  }

  /** Writes what is still to be written. */
  async stop(): Promise<void> {
    this.stopped = true
    clearTimeout(this.retry)
    const { thread } = this
    if (!thread) return
    const exited = once(thread, 'exit')
    this.post({ kind: 'close' })
    const insist = setTimeout(() => {
      thread.terminate().catch(() => {}) // It is gone already.
    }, closeMs)
    await exited
    clearTimeout(insist)
  }

  /** A window that was answered. Never throws and never waits. */
  offer({ escalation, replyTo }: QueuedEscalation, verdict: AnsweredVerdict, classes?: readonly string[]): void {
    const { site, device, point } = replyTo
    if (keepingOf(this.options, site) === 'off') return
    const { id, at, machine, task, reason, alarm, shaftHz, bearing, local, window } = escalation
    const { label, confidence, probabilities, model, agent } = verdict
    const { byteLength } = window.bytes
    if (!this.thread || this.pending.length >= most.windows || this.pendingBytes + byteLength > most.bytes) {
      this.dropped[this.thread ? 'busy' : 'failed']++
      return
    }
    const hard: NewWindow = {
      ...{ id, site, device, point, machine, task, reason, local, at, receivedAt: new Date().toISOString() },
      ...(alarm && { alarm }),
      ...(shaftHz !== undefined && { shaftHz }),
      ...(bearing && { bearing }),
      server: { label, confidence, probabilities, agent, model, ...(classes && { classes }) },
      // A copy: the samples may be a view of a whole packet.
      window: { ...window, bytes: window.bytes.slice() },
    }
    this.pending.push(byteLength)
    this.pendingBytes += byteLength
    this.post({ kind: 'window', window: hard })
  }

  /** What another model said of a window that was offered before. Never throws and never waits. */
  add({ id, site, device, point, role, model, label, confidence }: OtherAnswer): void {
    if (!this.thread || this.pendingAnswers >= most.answers || keepingOf(this.options, site) === 'off') return
    this.pendingAnswers++
    this.post({ kind: 'answer', answer: { id, site, device, point, role, model, label, confidence } })
  }

  /** Where the system gives no thread, it is asked again later. */
  private open(): void {
    try {
      this.launch()
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown, 'ARCHIVE_FAILED')
      this.fail({ code, message })
      this.ended()
    }
  }

  private launch(): void {
    const { logger, retryMs: _, ...archive } = this.options
    // tsx is named by its own address, so that neither the working directory nor how this process was started matters.
    const thread = new Worker(join(import.meta.dirname, 'thread.ts'), {
      workerData: archive,
      execArgv: ['--import', import.meta.resolve('tsx'), '--disable-warning=ExperimentalWarning'],
    })
    this.thread = thread
    thread.on('message', reply => this.receive(reply))
    thread.on('error', error => logger.error({ error: error.message }, 'the archive failed'))
    thread.once('exit', () => this.ended())
  }

  private post(request: ArchiveRequest): void {
    this.thread?.postMessage(request)
  }

  private receive(reply: ArchiveReply): void {
    if (reply.kind === 'not-open') {
      this.fail(reply)
      return
    }
    if (reply.kind !== 'not-written') this.counts = reply.counts
    if (reply.kind === 'open') return
    for (const bytes of this.pending.splice(0, reply.windows)) this.pendingBytes -= bytes
    this.pendingAnswers -= reply.answers
    if (reply.kind === 'not-written') {
      this.dropped.failed += reply.windows
      this.fail(reply)
      return
    }
    this.written += reply.written
    if (this.failure) this.options.logger.info('windows are archived again')
    this.failure = ''
  }

  /** Said once for each reason. */
  private fail({ code, message }: { code: string; message: string }): void {
    if (message !== this.failure) this.options.logger.error({ code, error: message }, 'no windows are archived')
    this.failure = message
  }

  private ended(): void {
    this.thread = undefined
    this.dropped.failed += this.pending.length
    this.pending.length = 0
    this.pendingBytes = 0
    this.pendingAnswers = 0
    if (!this.stopped) this.retry = setTimeout(() => this.open(), this.options.retryMs ?? 10_000)
  }
}
