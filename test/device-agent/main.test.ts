import assert from 'node:assert/strict'
import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createSigningKey, loadBundle, signBundle } from '@faultline/inference'
import { stringify } from 'yaml'
import { startAgentBroker } from '../support/agent-broker.ts'
import { observe } from '../support/observer.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

async function writeConfig(t: TestContext, changes: Record<string, unknown>): Promise<string> {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'device.yaml')
  const config = {
    site: 'plant-a',
    device: 'pi-1',
    broker: { url: 'mqtt://127.0.0.1:1', secret: 'unused' },
    dataDirectory: join(directory, 'data'),
    model: 'models/bearing-local',
    policy: { name: 'threshold', parameters: { threshold: 0.9 } },
    points: [{ point: 'motor-de', machine: 'press-3', source: { kind: 'simulated', intervalMs: 20 } }],
    ...changes,
  }
  await writeFile(file, stringify(config))
  return file
}

test('the program runs from its file, says which engine it chose, and ends when told to', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const model = join(await temporaryDirectory(t), 'model')
  await cp('models/bearing-local', model, { recursive: true })
  const key = createSigningKey()
  await signBundle(await loadBundle(model), key.privateKey)
  const { url, secret } = broker
  const file = await writeConfig(t, { broker: { url, secret }, model, trustedKeys: [key.publicKey] })
  const program = startScript(t, 'device-agent/main.ts', ['--config', file])
  const state = await watcher.seeOne('state').catch(error => assert.fail(`${error}\n${program.output}`))
  assert.ok(state.online)
  assert.equal(state.models[0]?.task, 'bearing-fault')
  assert.ok(state.models[0]?.engine)
  await watcher.see('inference', ({ machine }) => machine === 'press-3', 3)
  assert.equal(await program.stop(), 0, program.output)
  await watcher.seeOne('state', ({ online }) => !online)
})

test('where its directory cannot be written, the program says so first, and watches', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const { url, secret } = broker
  const blocked = join(await temporaryDirectory(t), 'blocked')
  await writeFile(blocked, '')
  const file = await writeConfig(t, { broker: { url, secret }, dataDirectory: join(blocked, 'data') })
  const program = startScript(t, 'device-agent/main.ts', ['--config', file])
  const state = await watcher.seeOne('state').catch(error => assert.fail(`${error}\n${program.output}`))
  assert.ok(state.online)
  assert.match(state.problems![0]!.message, /blocked.data.agent\.db/)
  await watcher.see('inference', ({ machine }) => machine === 'press-3', 3)
  assert.match(program.output.split('\n')[0]!, /the data directory takes nothing; starting without it/)
  assert.equal(await program.stop(), 0, program.output)
})

test('a mistake in the file ends in one line that names the entry', async t => {
  const file = await writeConfig(t, {
    points: [{ point: 'Motor DE', machine: 'press-3', source: { kind: 'simulated' } }],
  })
  const program = startScript(t, 'device-agent/main.ts', ['--config', file])
  assert.equal(await program.exited, 2)
  assert.match(program.output, /^error CONFIG_INVALID: .*points\.0\.point.*\n$/)
})

test('with trusted keys, a bundle that nobody signed is refused', async t => {
  const file = await writeConfig(t, { trustedKeys: [createSigningKey().publicKey] })
  const program = startScript(t, 'device-agent/main.ts', ['--config', file])
  assert.notEqual(await program.exited, 0)
  assert.match(program.output, /^error BUNDLE_UNSIGNED: models.bearing-local has no bundle.sig\n$/)
})
