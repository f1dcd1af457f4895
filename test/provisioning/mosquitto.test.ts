import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Identity, identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { initAuthority } from '../../provisioning/authority.ts'
import { mosquittoFiles, writeMosquitto } from '../../provisioning/mosquitto.ts'
import { collect, connected } from '../broker/harness.ts'
import { issueCertificate } from '../support/authority.ts'
import { freePort, startProgram } from '../support/processes.ts'
import { findProgram, missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'

const press = identityOf('device', 'plant-a', 'press-1')
const pump = identityOf('device', 'plant-a', 'pump-2')
const anna = identityOf('operator', 'anna')
const stateOf = ({ name }: Identity) => `faultline/v1/${name}/state`

test('a Mosquitto made from the registry knows identities by certificate, and their rights', {
  skip: missing('mosquitto'),
}, async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'registry.db')
  const registry = new Registry(path)
  await registry.start()
  t.after(() => registry.stop())
  await initAuthority(path, 'Test fleet', 1)
  for (const identity of [press, pump, anna]) await registry.enroll(identity)
  const options = { directory: join(directory, 'mosquitto'), port: await freePort(), hosts: ['127.0.0.1'] }
  assert.equal(await writeMosquitto(registry, path, options), 3)
  const broker = startProgram(t, findProgram('mosquitto')!, [
    '-c',
    join(options.directory, mosquittoFiles.configuration),
  ])
  await broker.said(/mosquitto version \S+ running/)

  const open = async (login: IClientOptions): Promise<MqttClient> => {
    const ca = await readFile(join(directory, 'ca.pem'))
    const client = mqtt.connect(`mqtts://127.0.0.1:${options.port}`, { ca, reconnectPeriod: 0, ...login })
    t.after(() => client.end(true))
    await connected(client)
    return client
  }
  const connect = async ({ name }: Identity) => {
    const files = await issueCertificate(directory, name)
    return open({ cert: await readFile(files.certificate), key: await readFile(files.key), clientId: 'of-no-meaning' })
  }
  await assert.rejects(open({ username: anna.name, password: 'x' }))
  const operator = await connect(anna)
  const seen = collect(operator)
  await operator.subscribeAsync('faultline/v1/#', { qos: 1 })
  const [device, other] = [await connect(press), await connect(pump)]
  await device.publishAsync(stateOf(pump), 'forged', { qos: 1 })
  await device.publishAsync(stateOf(press), 'honest', { qos: 1 })
  await other.publishAsync(stateOf(pump), 'mine', { qos: 1 })
  await seen.until(2)
  assert.deepEqual(seen.payloads(), ['honest', 'mine'])

  registry.revoke(press.name)
  assert.equal(await writeMosquitto(registry, path, options), 2)
  broker.child.kill('SIGHUP')
  await broker.said(/Reloading config/)
  await device.publishAsync(stateOf(press), 'revoked', { qos: 1 })
  await other.publishAsync(stateOf(pump), 'still here', { qos: 1 })
  await seen.until(3)
  assert.deepEqual(seen.payloads(), ['honest', 'mine', 'still here'])
})
