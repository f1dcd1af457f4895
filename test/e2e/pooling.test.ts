import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { startDevice, startServer, type TestDevice } from '../support/edge.ts'
import { startUsualBroker } from '../support/mosquitto.ts'
import { observe } from '../support/observer.ts'
import { sample, tinyLocalModel } from '../support/tiny-models.ts'

const policy = { name: 'hi-lcb', parameters: {} }
// Low enough that it takes more verdicts to be sure than to have something to tell.
const price = 0.25
const machineType = 'fan-15kw'
const pools = { poolIntervalMs: 20 }
const model = tinyLocalModel.model.digest

/** Learns about sound machines until it is sure of them; gives how often it had to ask. */
async function learn(edge: TestDevice): Promise<number> {
  let asked = 0
  for (let i = 0; i < 60; i++) if ((await edge.infer(sample.normal))[0]!.outcome === 'answered') asked++
  return asked
}

test('two devices learn, and a third of the same machine type begins with what they know', async t => {
  const broker = await startUsualBroker(t)
  const watcher = await observe(t, broker)
  await startServer(t, broker, pools)
  // A second server agent hears the same and must not count it again.
  await startServer(t, broker, { ...pools, server: 'server-2' })
  const first = await startDevice(t, broker, { device: 'pi-1', price, policy }, { machineType })
  const second = await startDevice(t, broker, { device: 'pi-2', price, policy }, { machineType })
  await Promise.all([first.online(), second.online()])
  const asked = await Promise.all([learn(first), learn(second)])
  // Both tell at their stop.
  await first.agent.stop()
  await second.agent.stop()
  const pool = await watcher.seeOne('pool', ({ devices }) => devices === 2)
  assert.equal(pool.verdicts, asked[0]! + asked[1]!)
  assert.equal(pool.model, model)

  const like = await startDevice(t, broker, { device: 'pi-3', price, policy }, { machineType })
  await once(like.agent, 'adopted', { signal: AbortSignal.timeout(20_000) })
  assert.equal((await like.infer(sample.normal))[0]!.reason, 'proven')
  const other = await startDevice(t, broker, { device: 'pi-4', price, policy }, { machineType: 'pump' })
  await other.online()
  assert.equal((await other.infer(sample.normal))[0]!.reason, 'not-proven')
})
