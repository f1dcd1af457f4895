import assert from 'node:assert/strict'
import { cp, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSigningKey, loadBundle, signBundle } from '@faultline/inference'
import { stringify } from 'yaml'
import { startAgentBroker } from '../support/agent-broker.ts'
import { observe } from '../support/observer.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { idsIn } from './archive/windows.ts'

test('the program runs from its file, names its models, and ends when told to', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'server.yaml')
  const { url, secret } = broker
  const models = ['models/bearing-server']
  const archive = { directory: join(directory, 'archive') }
  await writeFile(
    file,
    stringify({ server: 'server-1', broker: { url, secret }, models, workers: 1, archive, operations: { port: 0 } }),
  )
  const program = startScript(t, 'server-agent/main.ts', ['--config', file])
  await program.said(/connected to the broker/, 120_000)
  const state = await watcher.seeOne('server-state').catch(error => assert.fail(`${error}\n${program.output}`))
  assert.ok(state.online)
  assert.equal(state.models[0]?.task, 'bearing-fault')
  const [, port] = /"port":(\d+),"msg":"operations listen"/.exec(program.output)!
  const ready = await fetch(`http://127.0.0.1:${port}/readyz`)
  assert.equal(ready.status, 200, await ready.text())
  const series = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  assert.match(series, /^faultline_server_workers\{state="ready"\} 1$/m)
  assert.match(series, /^faultline_server_archive_windows 0$/m)
  assert.equal(await program.stop(), 0, program.output)
  assert.deepEqual(idsIn(archive.directory), [])
  await watcher.seeOne('server-state', ({ online }) => !online)
})

test('with trusted keys, a bundle that somebody else signed is refused', async t => {
  const directory = await temporaryDirectory(t)
  const model = join(directory, 'model')
  await cp('models/bearing-server', model, { recursive: true })
  await signBundle(await loadBundle(model), createSigningKey().privateKey)
  const file = join(directory, 'server.yaml')
  const broker = { url: 'mqtt://127.0.0.1:1', secret: 'unused' }
  const trustedKeys = [createSigningKey().publicKey]
  await writeFile(file, stringify({ server: 'server-1', broker, models: [model], trustedKeys }))
  const program = startScript(t, 'server-agent/main.ts', ['--config', file])
  assert.notEqual(await program.exited, 0)
  assert.match(
    program.output,
    /^error BUNDLE_SIGNATURE_INVALID: .* is signed with key [0-9a-f]{16}, which is not trusted\n$/,
  )
})
