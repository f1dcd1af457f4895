import { Classifier } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import { classifyJobs } from './job.ts'
import { measureBatches } from './warm-up.ts'
import type { ModelSource, WorkerReplies, WorkerReply, WorkerRequest } from './worker-messages.ts'

/** The process of one worker: `ProcessWorker` starts it and ends it by closing the channel. */
const classifiers = new Map<string, Promise<Classifier>>()

async function carryOut(request: WorkerRequest): Promise<WorkerReplies[keyof WorkerReplies]> {
  if (request.kind === 'load') return load(request.source)
  const classifier = await classifiers.get(request.digest)
  if (request.kind === 'unload') {
    classifiers.delete(request.digest)
    return classifier?.dispose() as Promise<undefined>
  }
  if (!classifier) throw new FaultlineError('INTERNAL', `the worker has no model ${request.digest}`)
  if (request.kind === 'measure') return measureBatches(classifier, request.maximum)
  return classifyJobs(classifier, request.jobs)
}

async function load(source: ModelSource): Promise<undefined> {
  const { digest } = source
  const loading = classifiers.get(digest) ?? open(source)
  classifiers.set(digest, loading)
  await loading.catch(error => {
    classifiers.delete(digest)
    throw error
  })
}

async function open({ directory, digest, engine, trusted }: ModelSource): Promise<Classifier> {
  const classifier = await Classifier.load(directory, { engine, ...(trusted && { trusted }) })
  if (classifier.model.digest === digest) return classifier
  await classifier.dispose()
  throw new FaultlineError('BUNDLE_DIGEST_MISMATCH', `${directory} has changed since it was chosen`)
}

process.on('message', (request: WorkerRequest) => {
  const { id } = request
  carryOut(request).then(
    value => process.send!({ id, ok: true, value } satisfies WorkerReply),
    thrown => {
      const { code, message } = toFaultlineError(thrown)
      process.send!({ id, ok: false, code, message } satisfies WorkerReply)
    },
  )
})
// A terminal's Ctrl-C reaches every process of the command; the agent wants its batches finished, and ends this itself.
process.on('SIGINT', () => {})
process.on('SIGTERM', () => {})
process.once('disconnect', () => process.exit(0))
