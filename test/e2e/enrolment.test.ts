import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Broker } from '@faultline/broker'
import { identityOf } from '@faultline/protocol'
import { EstService, Registry } from '@faultline/provisioning'
import { readCertificate, silentLogger } from '@faultline/runtime'
import { parse, stringify } from 'yaml'
import { loadAuthority } from '../../provisioning/authority.ts'
import { runCommand } from '../support/command.ts'
import { daysForRenewalAfter } from '../support/enrolment.ts'
import { observe } from '../support/observer.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

const press = identityOf('device', 'plant-a', 'press-1')

test('a device claims its certificate, publishes with it, renews it while it runs, and is out when revoked', {
  timeout: 120_000,
}, async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'registry.db')
  const provision = async (...args: string[]) => {
    const { code, stderr } = await runCommand('provisioning/main.ts', [...args, '--registry', path])
    assert.equal(code, 0, stderr)
  }
  await provision('init')
  await provision('server-certificate', '--host', '127.0.0.1', '--out', join(directory, 'broker'))

  const registry = new Registry(path)
  await registry.start()
  t.after(() => registry.stop())
  const certificateDays = daysForRenewalAfter(3_000)
  const listen = { host: '127.0.0.1', port: 0 }
  const service = new EstService({
    registry,
    authority: () => loadAuthority(path),
    ...listen,
    names: ['127.0.0.1'],
    certificateDays,
    logger: silentLogger,
  })
  await service.start()
  t.after(() => service.stop())
  const pair = { certificate: join(directory, 'broker.pem'), key: join(directory, 'broker.key') }
  const tls = { ...listen, ...pair, ca: join(directory, 'ca.pem'), clientCertificates: 'required' as const }
  // The device comes in by TLS and a certificate alone; the operator looks on from this machine.
  const broker = new Broker({ port: 0, tls, registry, logger: silentLogger })
  await broker.start()
  t.after(() => broker.stop())
  const { secret } = await registry.enroll(identityOf('operator', 'watcher'))
  const watcher = await observe(t, { url: `mqtt://127.0.0.1:${broker.port}`, secret })

  const file = join(directory, 'press-1.yaml')
  const urls = [
    '--broker-url',
    `mqtts://127.0.0.1:${broker.tlsPort}`,
    '--enrolment-url',
    `https://127.0.0.1:${service.port}`,
  ]
  await provision('enroll', '--site', 'plant-a', '--device', 'press-1', '--claim', ...urls, '--out', file)
  const config = parse(await readFile(file, 'utf8'))
  const files = {
    ca: join(directory, 'own', 'ca.pem'),
    certificate: join(directory, 'own', 'a.pem'),
    key: join(directory, 'own', 'a.key'),
  }
  Object.assign(config, {
    dataDirectory: join(directory, 'data'),
    broker: { ...config.broker, ...files },
    engine: 'onnx',
    policy: { name: 'never', parameters: {} },
  })
  await writeFile(file, stringify(config))

  const agent = startScript(t, 'device-agent/main.ts', ['--config', file])
  const fail = (error: unknown) => assert.fail(`${error}\n${agent.output}`)
  await agent.said(/certificate received/)
  const { boot } = await watcher.seeOne('state').catch(fail)
  await watcher.see('inference', undefined, 3).catch(fail)
  assert.equal((await stat(files.key)).mode & 0o777, 0o600)
  const first = readCertificate(await readFile(files.certificate, 'utf8'))
  assert.equal(first.name, press.name)

  // It comes back with the next certificate: the same start, and nobody heard that it was gone.
  await watcher.see('state', state => state.boot === boot && state.online, 2).catch(fail)
  assert.ok(service.outcomes.renewed >= 1)
  const second = readCertificate(await readFile(files.certificate, 'utf8'))
  assert.notEqual(second.keyDigest, first.keyDigest)
  assert.ok(watcher.of('state').every(({ payload }) => payload.online))
  const before = watcher.of('inference').length
  await watcher.see('inference', undefined, before + 1).catch(fail)

  registry.revoke(press.name)
  await watcher.seeOne('state', ({ online }) => !online).catch(fail)
  await agent.said(/CREDENTIALS_REFUSED/)
  const actions = registry.history(press.name).map(({ action }) => action)
  assert.deepEqual([actions[0], actions[1], actions.at(-1)], ['enrolled', 'claimed', 'revoked'])
  agent.child.kill('SIGTERM')
  await once(agent.child, 'close')
})
