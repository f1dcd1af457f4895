import { type Classifier, isValid } from '@faultline/inference'
import { decodeWindow, type Escalation, type FaultlineError, toFaultlineError } from '@faultline/protocol'

/** What the agent asks of a model that runs in a worker. `Classifier` is one. */
export interface ServerModel extends Pick<Classifier, 'model' | 'classes' | 'task' | 'prepare' | 'classifyPrepared'> {
  readonly engine: string
  readonly bundle?: Pick<Classifier['bundle'], 'description'>
}

/** One window as it travelled: unpacking it is the worker's part, too. */
export type Job = Pick<Escalation, 'window' | 'shaftHz' | 'bearing'>

/** What became of one window of a batch. */
export type JobResult =
  | { label: string; confidence: number; probabilities: number[] }
  /** It was refused, with a code of the error reference; the others of its batch were not. */
  | { code: FaultlineError['code']; message: string }

export interface BatchResult {
  /** One for each job, in their order. */
  results: JobResult[]
  /** What the batch took: unpacking, preparing, inferring. */
  inferMs: number
}

export const isRefused = (result: JobResult): result is Extract<JobResult, { code: string }> => 'code' in result

type Prepared = ReturnType<ServerModel['prepare']>

/** Takes a batch through a model. A window that does not fit, or that breaks the batch, is refused alone. */
export async function classifyJobs(model: ServerModel, jobs: readonly Job[]): Promise<BatchResult> {
  const startedAt = performance.now()
  const results = jobs.map(job => attempt(() => prepare(model, job)))
  const inputs = results.flatMap((result, i) => ('values' in result ? [{ i, input: result }] : []))
  const answers = await infer(
    model,
    inputs.map(({ input }) => input),
  )
  const complete = results as JobResult[]
  for (const [k, { i }] of inputs.entries()) complete[i] = answers[k]!
  return { results: complete, inferMs: performance.now() - startedAt }
}

function prepare(model: ServerModel, { window, shaftHz, bearing }: Job): Prepared {
  return model.prepare({
    ...decodeWindow(window),
    ...(shaftHz !== undefined && { shaftHz }),
    ...(bearing && { bearing }),
  })
}

async function infer(model: ServerModel, inputs: readonly Prepared[]): Promise<JobResult[]> {
  if (inputs.length === 0) return []
  try {
    const answers = await model.classifyPrepared(inputs)
    return inputs.map((_, i) => resultOf(model, answers[i]))
  } catch (thrown) {
    if (inputs.length === 1) return [refusalOf(thrown)]
    // One window may have done it: each gets a chance of its own.
    const results: JobResult[] = []
    for (const input of inputs) results.push(...(await infer(model, [input])))
    return results
  }
}

function resultOf(
  model: ServerModel,
  answer: Awaited<ReturnType<ServerModel['classifyPrepared']>>[number] | undefined,
) {
  if (!answer || !isValid(answer.classification.probabilities, model.classes.length))
    return { code: 'MODEL_MISMATCH' as const, message: 'the model gave no valid probabilities' }
  const { label, confidence, probabilities } = answer.classification
  return { label, confidence, probabilities: [...probabilities] }
}

function attempt(prepareOne: () => Prepared): Prepared | JobResult {
  try {
    return prepareOne()
  } catch (thrown) {
    return refusalOf(thrown)
  }
}

function refusalOf(thrown: unknown): JobResult {
  const { code, message } = toFaultlineError(thrown)
  return { code, message }
}
