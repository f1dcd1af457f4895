import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Broker } from '@faultline/broker'
import { identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { checkConfig, MqttSession, silentLogger } from '@faultline/runtime'
import { parse } from 'yaml'
import { deviceAgentConfig } from '../../device-agent/config.ts'
import { provisioningProgram } from '../../provisioning/program.ts'
import { serverAgentConfig } from '../../server-agent/config.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'

async function provision(directory: string, ...args: string[]) {
  const all = [...args, '--registry', join(directory, 'registry.db')]
  const { code, stdout, stderr } = await runCommand('provisioning/main.ts', all)
  return { status: code, output: stdout + stderr }
}

test('a device agent can start from the file that enrolment writes, and the broker knows it', async t => {
  const directory = await temporaryDirectory(t)
  const device = ['--site', 'plant-a', '--device', 'press-1', '--broker-url', 'mqtt://broker.local:1883']
  const { status, output } = await provision(directory, 'enroll', ...device)
  assert.equal(status, 0, output)
  const file = join(directory, 'devices', 'plant-a', 'press-1.yaml')
  assert.match(output, new RegExp(file))
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  const config = checkConfig(deviceAgentConfig, parse(await readFile(file, 'utf8')), file)
  assert.deepEqual([config.site, config.device], ['plant-a', 'press-1'])
  assert.equal(config.broker.url, 'mqtt://broker.local:1883')
  assert.doesNotMatch(output, new RegExp(config.broker.secret!))

  const registry = new Registry(join(directory, 'registry.db'))
  const broker = new Broker({ port: 0, registry, logger: silentLogger })
  await registry.start()
  await broker.start()
  const session = new MqttSession({
    url: `mqtt://127.0.0.1:${broker.port}`,
    identity: identityOf('device', 'plant-a', 'press-1'),
    secret: config.broker.secret,
    subscriptions: ['faultline/v1/devices/plant-a/press-1/command'],
    logger: silentLogger,
    backOff: { initialMs: 20, maximumMs: 20 },
  })
  t.after(async () => {
    await session.stop()
    await broker.stop()
    await registry.stop()
  })
  await session.start()
  await session.whenOnline(AbortSignal.timeout(30_000))
  await session.stop()
  await provision(directory, 'revoke', 'devices/plant-a/press-1')
  const refused = new Promise(resolve => session.once('problem', error => resolve(error.code)))
  await session.start()
  assert.equal(await refused, 'CREDENTIALS_REFUSED')
})

test('a server agent can start from the file that enrolment writes', async t => {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'gpu.yaml')
  const { status, output } = await provision(directory, 'enroll', '--role', 'server', '--id', 'gpu-1', '--out', file)
  assert.equal(status, 0, output)
  assert.equal(checkConfig(serverAgentConfig, parse(await readFile(file, 'utf8')), file).server, 'gpu-1')
})

test('a file that is there already is not overwritten, and nothing is enrolled', async t => {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'press.yaml')
  await writeFile(file, 'mine')
  const enroll = ['enroll', '--site', 'plant-a', '--device', 'press-1', '--out', file]
  const { status, output } = await provision(directory, ...enroll)
  assert.equal(status, 2)
  assert.match(output, /^error CONFIG_EXISTS: .*press\.yaml.*\n$/)
  assert.equal(await readFile(file, 'utf8'), 'mine')
  assert.match((await provision(directory, 'list')).output, /no identities/)
})

test('a refused enrolment leaves no file behind', async t => {
  const directory = await temporaryDirectory(t)
  const enroll = ['enroll', '--site', 'plant-a', '--device', 'press-1']
  await provision(directory, ...enroll, '--no-config')
  const { status, output } = await provision(directory, ...enroll)
  assert.equal(status, 2)
  assert.match(output, /^error IDENTITY_EXISTS: /)
  await assert.rejects(stat(join(directory, 'devices', 'plant-a', 'press-1.yaml')), { code: 'ENOENT' })
})

test('the life of an operator: enrolled, listed, rotated, shown, revoked', async t => {
  const directory = await temporaryDirectory(t)
  const enrolled = await provision(directory, 'enroll', '--role', 'operator', '--id', 'anna')
  assert.match(enrolled.output, /^enrolled operators\/anna\nsecret {3}\S{32}\n$/)
  assert.match(
    (await provision(directory, 'list')).output,
    /^name .*\noperators\/anna +operator +\S+ +active +secret\n$/,
  )
  const rotated = await provision(directory, 'rotate', 'operators/anna', '--overlap-hours', '2')
  assert.match(rotated.output, /\nsecret {2}\S{32}\nThe secret before works until \S+ \S+ UTC\.\n$/)
  assert.equal((await provision(directory, 'revoke', 'operators/anna')).status, 0)
  const shown = await provision(directory, 'show', 'operators/anna')
  assert.match(shown.output, /revoked[\s\S]*enrolled[\s\S]*rotated[\s\S]*revoked/)
  assert.match((await provision(directory, 'list', '--revoked')).output, /operators\/anna .*revoked/)
  const again = await provision(directory, 'rotate', 'operators/anna')
  assert.equal(again.status, 2)
  assert.match(again.output, /^error IDENTITY_UNKNOWN: .*\n$/)
})

test("the broker's certificate lies beside the registry unless another place is named", async t => {
  const directory = await temporaryDirectory(t)
  await provision(directory, 'init')
  const { status, output } = await provision(directory, 'server-certificate', '--host', 'broker.local')
  assert.equal(status, 0, output)
  assert.ok(output.includes(join(directory, 'broker.pem')), output)
  for (const name of ['broker.pem', 'broker.key']) await stat(join(directory, name))
})

test('mistakes give one line and exit with 2', async t => {
  const directory = await temporaryDirectory(t)
  const mistakes: [string[], RegExp][] = [
    [['list'], /there is no/],
    [['enroll', '--site', 'plant-a'], /--site S --device D/],
    [['enroll', '--role', 'server'], /--role server --id NAME/],
    [['enroll', '--role', 'king', '--id', 'x'], /device, server/],
    [['enroll', '--site', 'Plant A', '--device', 'd'], /IDENTIFIER_INVALID/],
    [['enroll', '--site', 's', '--device', 'd', '--broker-url', 'http://x'], /mqtt:/],
    [['enroll', '--role', 'operator', '--id', 'x', '--out', 'y'], /--out/],
    [['destroy'], /unknown command/],
  ]
  const results = await Promise.all(mistakes.map(([args]) => provision(directory, ...args)))
  for (const [i, { status, output }] of results.entries()) {
    assert.equal(status, 2, output)
    assert.match(output, mistakes[i]![1])
    assert.match(output, /^error.*\n$/)
  }
})

test('every command explains itself', () => {
  const program = provisioningProgram()
  for (const command of program.commands) {
    const help = command.helpInformation()
    assert.match(help, /^Usage: npm run provision -- \S+ \[options\]/)
    assert.ok(command.description(), command.name())
    assert.ok(command.options.every(({ description }) => description))
  }
})
