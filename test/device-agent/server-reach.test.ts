import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { startAgentBroker } from '../support/agent-broker.ts'
import { startDevice, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { sample } from '../support/tiny-models.ts'

test('while servers are gone doubtful windows end at once and say so, and a probe finds a server that is back', {
  timeout: 120_000,
}, async t => {
  const broker = await startAgentBroker(t)
  const operator = await observe(t, broker)
  const edge = await startDevice(t, broker, { deadlineMs: 20 })
  await edge.online()
  for (let i = 0; i < 5; i++) assert.equal((await edge.infer(sample.doubtful))[0]?.outcome, 'late')
  // A second later, on a busy machine, the next window is a probe; after each probe the next one is further away.
  let [forgone] = await edge.infer(sample.doubtful)
  while (forgone?.outcome === 'late') [forgone] = await edge.infer(sample.doubtful)
  assert.deepEqual(
    [forgone?.outcome, forgone?.reason, forgone?.decidedBy, forgone?.label],
    ['offline', 'servers-gone', 'local-fallback', 'normal'],
  )
  assert.equal(edge.agent.health?.servers?.reachable, false)
  await edge.configure(operator, { deadlineMs: 20_000 })
  await startServer(t, broker)
  while ((await edge.infer(sample.doubtful))[0]?.outcome !== 'answered') await delay(100)
  assert.equal(edge.agent.health?.servers?.reachable, true)
  assert.equal((await edge.infer(sample.doubtful))[0]?.outcome, 'answered')
})
