import assert from 'node:assert/strict'
import { stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import mqtt from 'mqtt'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { connected, credentials, refusalCode } from './harness.ts'

const press = identityOf('device', 'plant-a', 'press-1')

test('a broker on its own follows what provisioning does to the registry', async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'registry.db')
  const registry = new Registry(path)
  await registry.start()
  t.after(() => registry.stop())
  const config = join(directory, 'broker.yaml')
  const store = join(directory, 'broker.db')
  await writeFile(config, `port: 0\nwebSocketPort: 0\nregistry: ${path}\nstore: ${store}\noperations: { port: 0 }\n`)
  const program = startScript(t, 'broker/main.ts', ['--config', config])
  const [, http] = await program.said(/"port":(\d+).*"msg":"operations listen"/)
  const [, port] = await program.said(/"port":(\d+).*"msg":"broker listens"/)
  const ask = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${http}${path}`)
    return [response.status, await response.text()] as const
  }
  assert.deepEqual(await ask('/readyz'), [200, 'ready\n'])
  assert.equal((await stat(store)).mode & 0o777, 0o600)
  const url = `mqtt://127.0.0.1:${port}`

  const { secret } = await registry.enroll(press)
  const attempt = async () => {
    const client = mqtt.connect(url, { ...credentials(press, new Map([[press.name, secret]])), reconnectPeriod: 0 })
    t.after(() => client.end(true))
    await connected(client)
  }
  await attempt()
  const [, metrics] = await ask('/metrics')
  assert.match(metrics, /^faultline_broker_connections 1$/m)
  assert.match(metrics, /^nodejs_eventloop_lag_p99_seconds /m)
  registry.revoke(press.name)
  assert.equal(await refusalCode(attempt()), 4)
  assert.equal(await program.stop('SIGTERM'), 0, program.output)
  assert.doesNotMatch(program.output, new RegExp(secret))
})

test('a broker on its own says in one line what is wrong with its configuration', async t => {
  const directory = await temporaryDirectory(t)
  const config = join(directory, 'broker.yaml')
  const run = async (yaml: string) => {
    await writeFile(config, yaml)
    const program = startScript(t, 'broker/main.ts', ['--config', config])
    return { status: await program.exited, output: program.output }
  }
  const wrong = await run('port: 99999\n')
  assert.equal(wrong.status, 2)
  assert.match(wrong.output, /^error CONFIG_INVALID: .*port.*\n$/)
  const absent = await run(
    `port: 0\nregistry: ${join(directory, 'absent.db')}\nstore: ${join(directory, 'store.db')}\n`,
  )
  assert.equal(absent.status, 1)
  assert.match(absent.output, /^error DATABASE_FAILED: .*absent\.db.*\n$/)
  await writeFile(join(directory, 'text.db'), 'not a database')
  const text = await run(`port: 0\nregistry: ${join(directory, 'text.db')}\n`)
  assert.match(text.output, /^error DATABASE_FAILED: .*text\.db.*\n$/)
})
