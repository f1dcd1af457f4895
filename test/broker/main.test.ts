import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
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
  await writeFile(config, `port: 0\nwebSocketPort: 0\nregistry: ${path}\n`)
  const program = startScript(t, 'broker/main.ts', ['--config', config])
  const [, port] = await program.said(/"port":(\d+)/)
  const url = `mqtt://127.0.0.1:${port}`

  const { secret } = await registry.enroll(press)
  const attempt = async () => {
    const client = mqtt.connect(url, { ...credentials(press, new Map([[press.name, secret]])), reconnectPeriod: 0 })
    t.after(() => client.end(true))
    await connected(client)
  }
  await attempt()
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
  const absent = await run(`port: 0\nregistry: ${join(directory, 'absent.db')}\n`)
  assert.equal(absent.status, 1)
  assert.match(absent.output, /^error DATABASE_FAILED: .*absent\.db.*\n$/)
  await writeFile(join(directory, 'text.db'), 'not a database')
  const text = await run(`port: 0\nregistry: ${join(directory, 'text.db')}\n`)
  assert.match(text.output, /^error DATABASE_FAILED: .*text\.db.*\n$/)
})
