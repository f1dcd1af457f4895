import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { BearingSimulator, Classifier } from '@faultline/inference'
import { encodeWindow, isRejected, type Verdict } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { InProcessHost, type ModelHost, ProcessHost, type ProcessHostOptions } from '@faultline/server-agent'
import { Dispatcher } from '../../server-agent/dispatcher.ts'
import { isRefused, type Job } from '../../server-agent/job.ts'
import type { QueuedEscalation } from '../../server-agent/queue.ts'
import { root } from '../support/processes.ts'
import { crashes, hangs } from './failing-worker.ts'
import { queued } from './fake-host.ts'

const directory = join(root, 'models/bearing-server')
const task = 'bearing-fault'
const shaftHz = 29.5

function windowOf(fault: 'normal' | 'inner-race' | 'outer-race', samples = 2_048) {
  const simulator = new BearingSimulator({ rateHz: 12_000, shaftHz, fault, seed: 3 })
  return { samples: simulator.next(samples), shape: [samples], rateHz: 12_000, shaftHz }
}

const jobOf = (window: ReturnType<typeof windowOf>): Job => ({ window: encodeWindow(window), shaftHz: window.shaftHz })

async function startHost(options: Partial<ProcessHostOptions> = {}): Promise<ProcessHost> {
  const host = new ProcessHost({
    directories: [directory],
    engine: 'onnx',
    workers: 1,
    maxBatch: 8,
    backOff: { initialMs: 1, maximumMs: 10 },
    logger: silentLogger,
    ...options,
  })
  await host.start()
  return host
}

const hosts: Record<string, () => Promise<ModelHost>> = {
  'in this process': async () => new InProcessHost([classifier]),
  'in a process of its own': async () => shared,
}

let classifier: Classifier
let shared: ProcessHost
before(async () => {
  classifier = await Classifier.load(directory, { engine: 'onnx' })
  shared = await startHost()
})
after(async () => {
  await shared.stop()
  await classifier.dispose()
})

for (const [where, open] of Object.entries(hosts)) {
  suite(`a worker ${where}`, () => {
    test('answers each window as the model does, in their order', async () => {
      const { workers, models } = await open()
      const windows = (['normal', 'inner-race', 'outer-race', 'normal'] as const).map(fault => windowOf(fault))
      const { results, inferMs } = await workers[0]!.classify(models.get(task)!.model.digest, windows.map(jobOf))
      const expected = await classifier.classify(windows)
      const labels = results.map(result => (isRefused(result) ? result.code : result.label))
      assert.deepEqual(
        labels,
        expected.map(({ classification }) => classification.label),
      )
      assert.ok(inferMs > 0)
    })

    test('refuses a window that does not fit, alone of its batch', async () => {
      const { workers, models } = await open()
      const jobs = [jobOf(windowOf('normal')), jobOf(windowOf('normal', 1_000)), jobOf(windowOf('normal'))]
      const { results } = await workers[0]!.classify(models.get(task)!.model.digest, jobs)
      assert.deepEqual(
        results.map(result => isRefused(result) && result.code),
        [false, 'WINDOW_INVALID', false],
      )
    })

    test('rejects for a model it does not have', async () => {
      const { workers } = await open()
      await assert.rejects(workers[0]!.classify('sha256:00', [jobOf(windowOf('normal'))]), { code: 'INTERNAL' })
    })
  })
}

test('the batches of a model in processes are measured at the start', () => {
  const { best } = shared.models.get(task)!.times
  assert.ok(best !== undefined && best >= 1 && best <= 8)
})

/** The verdicts on windows that are offered together. */
async function verdictsOn(host: ModelHost, shafts: readonly number[]): Promise<string[]> {
  const verdicts = new Map<QueuedEscalation, Verdict>()
  let finished = () => {}
  const all = new Promise<void>(resolve => {
    finished = resolve
  })
  const dispatcher = new Dispatcher({
    agent: 'server-1',
    host,
    maxBatch: 8,
    maxQueue: 100,
    maxQueueBytes: 1e9,
    maxDelayMs: 0,
    answer: (item, verdict) => {
      verdicts.set(item, verdict)
      if (verdicts.size === shafts.length) finished()
    },
    logger: silentLogger,
  })
  const items = shafts.map(shaftHz => {
    const item = queued({ task, window: encodeWindow(windowOf('inner-race')) })
    item.escalation.shaftHz = shaftHz
    return item
  })
  for (const item of items) dispatcher.offer(item)
  await all
  return items.map(item => {
    const verdict = verdicts.get(item)!
    return isRejected(verdict) ? verdict.rejected : verdict.label
  })
}

const program = join(import.meta.dirname, 'failing-worker.ts')

test('a window that crashes its worker is rejected alone, and the worker comes back', async t => {
  const host = await startHost({ program })
  t.after(() => host.stop())
  const verdicts = await verdictsOn(host, [shaftHz, crashes, shaftHz])
  assert.deepEqual(verdicts, ['inner-race', 'bad-window', 'inner-race'])
  assert.equal(host.failures, 2)
})

test('a window that its worker never ends with is rejected after a while', async t => {
  const host = await startHost({ program, batchTimeoutMs: 1_500 })
  t.after(() => host.stop())
  assert.deepEqual(await verdictsOn(host, [hangs]), ['bad-window'])
  assert.deepEqual(await verdictsOn(host, [shaftHz]), ['inner-race'])
})
