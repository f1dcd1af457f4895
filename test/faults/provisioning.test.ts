import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request } from 'node:https'
import { join } from 'node:path'
import { test } from 'node:test'
import { identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { createRequest } from '@faultline/runtime'
import { initAuthority } from '../../provisioning/authority.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { FaultyProgram } from './faulty-program.ts'
import { seeds } from './seeds.ts'

/** The status of a request for a certificate with a claim that is wrong. */
async function enrol(port: string, csr: string): Promise<number> {
  const sent = request({
    host: '127.0.0.1',
    port,
    method: 'POST',
    path: '/.well-known/est/simpleenroll',
    auth: 'devices/plant-a/press-1:wrong',
    headers: { 'content-type': 'application/pkcs10' },
    rejectUnauthorized: false,
    agent: false,
  }).end(csr.replace(/-----[^-]*-----|\s/g, ''))
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  response.resume()
  await once(response, 'end')
  return response.statusCode!
}

for (const seed of seeds(2)) {
  test(`a registry that fails at random calls is said to be away, and serves again, seed ${seed}`, async t => {
    const directory = await temporaryDirectory(t)
    const path = join(directory, 'registry.db')
    await initAuthority(path, 'Test fleet', 2)
    const registry = new Registry(path)
    await registry.start()
    await registry.enroll(identityOf('device', 'plant-a', 'press-1'))
    await registry.stop()
    const args = ['provisioning/main.ts', 'serve', '--registry', path, '--host', '127.0.0.1', '--port', '0']
    const service = new FaultyProgram(t, args, { seed, rate: 0.5, directory })
    const [, port] = await service.program.said(/"port":(\d+).*provisioning service listens/, 60_000)
    const { request: csr } = await createRequest('devices/plant-a/press-1')
    const usual = await enrol(port!, csr)
    await service.turnOn()
    const statuses: number[] = []
    for (let i = 0; i < 20; i++) statuses.push(await enrol(port!, csr))
    await service.turnOff()
    const thrown = await service.thrown()
    t.diagnostic(`seed ${seed}: ${thrown} calls failed`)
    assert.ok(thrown > 0)
    assert.deepEqual([...new Set(statuses)].sort(), [usual, 503].sort())
    assert.equal(await enrol(port!, csr), usual)
    assert.ok(service.isRunning)
    assert.match(service.program.output, /injected/, 'errors are logged')
    assert.equal(await service.program.stop(), 0, service.program.output)
  })
}
