import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Source } from '@faultline/device-agent'
import { Classifier } from '@faultline/inference'
import { fixture } from '../inference/bundles.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { point, startDevice } from '../support/edge.ts'

test('a point without the shaft speed that its model needs is named while it lacks it, and sends no window', async t => {
  const model = await Classifier.load(fixture('tiny-features'), { engine: 'onnx' })
  t.after(() => model.dispose())
  const broker = await startAgentBroker(t)
  const waiting: ((shaftHz: number | undefined) => void)[] = []
  const asked: (() => void)[] = []
  const source: Source = {
    rateHz: 12_000,
    windowSamples: 512,
    intervalMs: 1_000,
    overruns: 0,
    async *windows(signal) {
      while (!signal.aborted) {
        const shaftHz = await new Promise<number | undefined>(resolve => {
          signal.addEventListener('abort', () => resolve(undefined), { once: true })
          waiting.push(resolve)
          asked.shift()?.()
        })
        if (signal.aborted) return
        const samples = Float32Array.from({ length: 512 }, (_, i) => Math.sin(i) + Math.sin(i * i))
        const window = { samples, shape: [512], rateHz: 12_000, ...(shaftHz !== undefined && { shaftHz }) }
        yield { window, at: new Date() }
      }
    },
  }
  const edge = await startDevice(t, broker, { classifier: model }, { source })
  await edge.online()
  const give = async (shaftHz?: number) => {
    while (waiting.length === 0) await new Promise<void>(resolve => asked.push(resolve))
    waiting.shift()!(shaftHz)
  }
  assert.equal(edge.agent.problems.length, 0)
  await give()
  await give()
  for (const { label, reason } of await edge.inferred(2))
    assert.deepEqual([label, reason], ['unknown', 'no-shaft-speed'])
  assert.deepEqual([edge.counters.accepted, edge.agent.health!.bytes.escalations], [2, 0])
  const [problem, ...others] = edge.agent.problems
  assert.equal(others.length, 0)
  assert.match(problem!.message, new RegExp(`^${point}: the model needs the shaft speed`))
  assert.deepEqual(edge.agent.health!.problems, [problem])
  await give(29)
  await edge.inferred(3)
  assert.equal(edge.agent.problems.length, 0)
})
