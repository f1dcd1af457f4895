import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { createSigningKey, identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { checkConfig, readCertificate } from '@faultline/runtime'
import { extract } from 'tar-stream'
import { parse } from 'yaml'
import { deviceAgentConfig } from '../../device-agent/config.ts'
import { initAuthority } from '../../provisioning/authority.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'

const press = identityOf('device', 'plant-a', 'press-1')

async function unpack(file: string): Promise<Map<string, { mode: number; content: string }>> {
  const archive = extract()
  const files = new Map<string, { mode: number; content: string }>()
  archive.end(gunzipSync(await readFile(file)))
  for await (const entry of archive) {
    files.set(entry.header.name, { mode: entry.header.mode ?? 0, content: await text(entry) })
  }
  return files
}

test('a package holds all that one device is set up from: with a claim, or with a certificate', async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'registry.db')
  const { fingerprint } = await initAuthority(path, 'Fleet', 1)
  const registry = new Registry(path)
  await registry.start()
  t.after(() => registry.stop())
  await registry.enroll(press)
  const make = async (out: string, ...more: string[]) => {
    const args = ['package', press.name, '--broker-url', 'mqtts://broker.local:8883', '--out', join(directory, out)]
    const { code, stderr } = await runCommand('provisioning/main.ts', [...args, ...more, '--registry', path])
    assert.equal(code, 0, stderr)
    assert.equal((await stat(join(directory, out))).mode & 0o777, 0o600)
    const files = await unpack(join(directory, out))
    const inside = (name: string) => files.get(`faultline-plant-a-press-1/${name}`)
    const config = checkConfig(deviceAgentConfig, parse(inside('device.yaml')!.content), 'device.yaml')
    assert.equal(readCertificate(inside('ca.pem')!.content).fingerprint, fingerprint)
    assert.equal(inside('install.sh')?.mode, 0o755)
    await writeFile(join(directory, 'install.sh'), inside('install.sh')!.content)
    assert.equal(spawnSync('sh', ['-n', join(directory, 'install.sh')]).status, 0)
    return { inside, config }
  }
  const agent = join(directory, 'agent.tar.gz')
  await writeFile(agent, 'what was packed')
  const { publicKey } = createSigningKey()
  const [claiming, certified] = await Promise.all([
    make('claim.tar.gz', '--enrolment-url', 'https://provision.local:8443'),
    make('certificate.tar.gz', '--certificate', '--agent', agent, '--trust', publicKey),
  ])
  const { enrolment } = claiming.config.broker
  assert.equal(enrolment?.url, 'https://provision.local:8443')
  assert.equal(enrolment.fingerprint, fingerprint)
  assert.ok(enrolment.token)
  assert.equal(claiming.inside('agent.key'), undefined)
  assert.equal(claiming.inside('agent.tar.gz'), undefined)

  assert.deepEqual([claiming.config.trustedKeys, certified.config.trustedKeys], [undefined, [publicKey]])
  assert.equal(certified.inside('agent.tar.gz')?.content, 'what was packed')
  assert.equal(certified.config.broker.enrolment?.token, undefined)
  assert.deepEqual([certified.inside('device.yaml')?.mode, certified.inside('agent.key')?.mode], [0o600, 0o600])
  const facts = readCertificate(certified.inside('agent.pem')!.content)
  assert.deepEqual(registry.certificate(facts.fingerprint)?.identity, press)
  assert.equal(registry.history(press.name).filter(({ action }) => action === 'packaged').length, 2)
})
