import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Bearing, skf6203, skf6205, type Window } from '@faultline/inference'
import { startAgentBroker } from '../support/agent-broker.ts'
import { startDevice, startServer } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { sample, TinyServerModel, tinyLocalModel, tinyTask } from '../support/tiny-models.ts'

/** The models of both sides, and the bearing each was shown. */
function watchedModels() {
  const seen: { local: (Bearing | undefined)[]; server: (Bearing | undefined)[] } = { local: [], server: [] }
  const server = new TinyServerModel()
  const prepare = server.prepare.bind(server)
  server.prepare = window => {
    seen.server.push(window.bearing)
    return prepare(window)
  }
  const local = {
    ...tinyLocalModel,
    classify: (windows: readonly Window[]) => {
      seen.local.push(...windows.map(({ bearing }) => bearing))
      return tinyLocalModel.classify(windows)
    },
  }
  return { seen, local, server: new Map([[tinyTask, server]]) }
}

test('both models look at the bearing of the point', async t => {
  const broker = await startAgentBroker(t)
  const { seen, local, server } = watchedModels()
  await startServer(t, broker, { classifiers: server })
  const edge = await startDevice(t, broker, { classifier: local }, { bearing: skf6203 })
  await edge.online()
  await edge.infer(sample.doubtful)
  assert.deepEqual(seen, { local: [skf6203], server: [skf6203] })
})

test('without one, the server is told which bearing the local model assumes, or nothing', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const { seen, local, server } = watchedModels()
  await startServer(t, broker, { classifiers: server })
  const assuming = await startDevice(t, broker, { classifier: { ...local, bearing: skf6205 } })
  await assuming.online()
  await assuming.infer(sample.doubtful)
  await assuming.agent.stop()
  const silent = await startDevice(t, broker, { classifier: local })
  await silent.online()
  await silent.infer(sample.doubtful)
  assert.deepEqual(seen, { local: [undefined, undefined], server: [skf6205, undefined] })
  const [, last] = await watcher.see('escalation', () => true, 2)
  assert.equal(Object.hasOwn(last!, 'bearing'), false)
})
