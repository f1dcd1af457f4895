import assert from 'node:assert/strict'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { findings } from '../../device-agent/field/checks.ts'
import { readable } from '../../device-agent/field/logs.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'
import type { DeviceStatus } from '../../device-agent/status-page/status-board.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

const status: DeviceStatus = {
  at: '2026-11-25T09:00:00.000Z',
  site: 'plant-a',
  device: 'pi-1',
  problems: [],
  online: true,
  model: { name: 'bearing-local', version: '1.0.0', engine: 'tfjs-wasm' },
  points: [
    { point: 'de', machine: 'press-3', label: 'inner-race', confidence: 0.97 },
    { point: 'fan', machine: 'press-4' },
  ],
}

/** An agent's status page as far as the command asks it. */
async function statusPage(t: TestContext, changes: Partial<DeviceStatus> = {}): Promise<string> {
  const server = createServer((request, response) => {
    response
      .writeHead(request.url === '/status.json' ? 200 : 404)
      .end(JSON.stringify({ device: { ...status, ...changes } }))
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

test('status says who it is, whether it is connected, on which engine, and what it sees', async t => {
  const program = startScript(t, 'device-agent/field/main.ts', ['status', '--url', await statusPage(t)])
  assert.equal(await program.exited, 0, program.output)
  assert.match(program.output, /plant-a\/pi-1/)
  assert.match(program.output, /broker +connected/)
  assert.match(program.output, /bearing-local 1\.0\.0 on tfjs-wasm/)
  assert.match(program.output, /de +on press-3: inner-race \(97 %\)/)
  assert.match(program.output, /fan +on press-4: no window yet/)
})

test('status of an agent that does not answer says where it was asked, and fails', async t => {
  const program = startScript(t, 'device-agent/field/main.ts', ['status', '--url', 'http://127.0.0.1:9/'])
  assert.equal(await program.exited, 1)
  assert.match(program.output, /does not answer at http:\/\/127\.0\.0\.1:9\//)
})

test('diagnosis tells a broker that listens from one that does not, and a silent point', async t => {
  const directory = await temporaryDirectory(t)
  const broker = createTcpServer(socket => socket.destroy()).listen(0, '127.0.0.1')
  await once(broker, 'listening')
  const { port } = broker.address() as AddressInfo
  const file = join(directory, 'device.yaml')
  const config = `site: plant-a
device: pi-1
dataDirectory: ${directory}
broker: { url: "mqtt://127.0.0.1:${port}", secret: x }
model: models/bearing-local
statusPage: {}
points: [{ point: de, machine: press-3, source: { kind: simulated } }]
`
  await writeFile(file, config)
  const url = await statusPage(t)
  const find = async (name: string) => (await findings(file, url)).find(({ check }) => check === name)!
  assert.equal((await find('configuration')).verdict, 'ok')
  assert.equal((await find('broker')).verdict, 'ok')
  assert.match((await find('agent')).what, /no window yet from fan/)
  broker.close()
  await once(broker, 'close')
  const away = await find('broker')
  assert.equal(away.verdict, 'fault')
  assert.match(away.what, new RegExp(`127\\.0\\.0\\.1:${port}: ECONNREFUSED`))
})

test('diagnosis says whether the store of the agent is whole, what waits in it and what was set aside', async t => {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'device.yaml')
  const config = `
site: plant-a
device: pi-1
dataDirectory: ${directory}
broker: { url: "mqtt://127.0.0.1:9", secret: x }
model: models/bearing-local
points: [{ point: de, machine: press-3, source: { kind: simulated } }]
`
  await writeFile(file, config)
  const find = async () => (await findings(file, 'http://127.0.0.1:9/')).find(({ check }) => check === 'store')!
  openStorage(directory).close()
  const whole = await find()
  assert.equal(whole.verdict, 'ok')
  assert.match(whole.what, /agent\.db: whole; \d+ bytes, 0 spooled messages/)
  await writeFile(join(directory, 'agent.db.damaged-2026-01-02T03-04-05.006Z'), '')
  assert.equal((await find()).verdict, 'warning')
  await writeFile(join(directory, 'agent.db'), '')
  const damaged = await find()
  assert.equal(damaged.verdict, 'fault')
  assert.match(damaged.what, /agent\.db: damaged/)
})

test('diagnosis names what is wrong in a configuration, and goes on', async t => {
  const file = join(await temporaryDirectory(t), 'device.yaml')
  await writeFile(file, 'site: plant-a\n')
  const found = await findings(file, 'http://127.0.0.1:9/')
  assert.equal(found[0]?.verdict, 'fault')
  assert.match(found[0].what, /device: /)
  assert.equal(found.find(({ check }) => check === 'agent')?.verdict, 'fault')
})

test('a line of the log is made readable, and any other is left as it is', () => {
  const line =
    '{"level":40,"time":1764061200000,"pid":7,"hostname":"pi","name":"device-agent","engine":"onnx","msg":"passed over"}'
  assert.equal(readable(line), '2025-11-25 09:00:00 WARN  passed over engine="onnx"')
  assert.equal(readable('Started Faultline device agent.'), 'Started Faultline device agent.')
  assert.equal(readable('17'), '17')
})

test('status and diagnosis name what the agent says is wrong with the device, and what to do', async t => {
  const message = 'another client uses this identity (devices/plant-a/pi-1)'
  const problems = [{ code: 'IDENTITY_CONTESTED', message, since: '2026-11-25T08:00:00.000Z' }]
  const url = await statusPage(t, { problems })
  const program = startScript(t, 'device-agent/field/main.ts', ['status', '--url', url])
  await program.exited
  assert.match(program.output, /problem +IDENTITY_CONTESTED: another client uses this identity/)
  const found = (await findings('none.yaml', url)).find(({ check }) => check === 'problem')!
  assert.equal(found.verdict, 'fault')
  assert.match(found.what, /another client uses this identity/)
  assert.match(found.remedy!, /Find the copy/)
})
