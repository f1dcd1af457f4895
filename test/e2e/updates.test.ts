import assert from 'node:assert/strict'
import { once } from 'node:events'
import { cp, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSigningKey, loadBundle, signBundle } from '@faultline/inference'
import { identityOf } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { stringify } from 'yaml'
import { packBundle } from '../../provisioning/rollouts/artifact.ts'
import { RolloutRunner } from '../../provisioning/rollouts/runner.ts'
import { RolloutStore } from '../../provisioning/rollouts/store.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { observe } from '../support/observer.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { thorough } from '../support/thorough.ts'

test('a model is rolled out over the broker to a device, in CI to one whose process is killed on probation', {
  timeout: 120_000,
}, async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const directory = await temporaryDirectory(t)
  const key = createSigningKey()
  const bundle = async (version: string): Promise<string> => {
    const path = join(directory, `bearing-${version}`)
    await cp('models/bearing-local', path, { recursive: true })
    const description = JSON.parse(await readFile(join(path, 'bundle.json'), 'utf8'))
    await writeFile(join(path, 'bundle.json'), JSON.stringify({ ...description, version }))
    await signBundle(await loadBundle(path), key.privateKey)
    return path
  }
  const config = {
    site: 'plant-a',
    device: 'pi-1',
    broker: { url: broker.url, secret: broker.secret },
    dataDirectory: join(directory, 'data'),
    model: await bundle('8.0.0'),
    engine: 'onnx',
    trustedKeys: [key.publicKey],
    points: [{ point: 'motor-de', machine: 'press-3', source: { kind: 'simulated', intervalMs: 20 } }],
  }
  const file = join(directory, 'device.yaml')
  await writeFile(file, stringify(config))

  const artifact = await packBundle(await bundle('9.0.0'), directory)
  const store = new RolloutStore(join(directory, 'rollouts.db'))
  await store.start()
  const probation = { seconds: thorough ? 2 : 0.5, windows: thorough ? 20 : 5, disagreement: 0.1 }
  const terms = { probation, maxFailures: { count: 0 }, advanceAt: 100, lostAfterMs: 3_600_000 }
  store.create('r-1', artifact, terms, [['devices/plant-a/pi-1']])
  const runner = new RolloutRunner({
    id: 'r-1',
    store,
    artifacts: directory,
    broker: { url: broker.url, secret: broker.secret },
    identity: identityOf('operator', 'anna'),
    logger: silentLogger,
  })
  t.after(async () => {
    await runner.stop()
    await store.stop()
  })
  const ended = once(runner, 'ended', { signal: AbortSignal.timeout(90_000) })
  await runner.start()

  const first = startScript(t, 'device-agent/main.ts', ['--config', file])
  await watcher.seeOne('state', state => state.online && state.models[0]?.version === '8.0.0')
  await watcher
    .seeOne('state', state => state.online && state.models[0]?.version === '9.0.0')
    .catch(error => {
      assert.fail(`${error}\n${first.output}`)
    })
  await watcher.seeOne('update-status', ({ state }) => state === 'probation')
  let last = first
  if (thorough) {
    await first.stop('SIGKILL')
    assert.notEqual(store.devices('r-1')[0]!.state, 'succeeded')
    last = startScript(t, 'device-agent/main.ts', ['--config', file])
  }
  const [{ state }] = await ended
  assert.equal(state, 'done', last.output)
  // A model is exchanged by a start within the process.
  const online = await watcher.seeOne('state', said => said.online && said.boot === (thorough ? 3 : 2))
  assert.ok(online.online && online.models[0]?.digest === artifact.digest, JSON.stringify(online))
  assert.deepEqual(
    [...new Set(watcher.of('update-status').map(({ payload }) => payload.state))],
    ['downloading', 'verifying', 'trying', 'switching', 'probation', 'done'],
  )
  assert.equal(await last.stop(), 0, last.output)
})
