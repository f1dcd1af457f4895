import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { identityOf, verifySecret } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { FleetIdentities, fleetIdentities } from '../../fleet/identities.ts'
import { temporaryDirectory } from '../support/temp.ts'

const names = [fleetIdentities.server, identityOf('device', 'local', 'pi-01')]

async function setUp(t: TestContext) {
  const directory = await temporaryDirectory(t)
  const registry = new Registry(join(directory, 'registry.db'))
  await registry.start()
  t.after(() => registry.stop())
  return { directory, registry, enrol: () => new FleetIdentities(directory, registry).enrol(names) }
}

test('the secrets of the first start are those of the next', async t => {
  const { enrol } = await setUp(t)
  const first = await enrol()
  assert.deepEqual([...first.keys()].sort(), names.map(({ name }) => name).sort())
  assert.deepEqual(await enrol(), first)
})

test('secrets that were lost are replaced by ones the registry accepts', async t => {
  const { directory, registry, enrol } = await setUp(t)
  const first = await enrol()
  await writeFile(join(directory, 'secrets.json'), '{"serv')
  const second = await enrol()
  for (const { name } of names) {
    assert.notEqual(second.get(name), first.get(name))
    assert.ok(await verifySecret(second.get(name)!, registry.credential(name)!.secretHash))
  }
})

test('the file of secrets is its owner’s alone', async t => {
  const { directory, enrol } = await setUp(t)
  await enrol()
  const file = join(directory, 'secrets.json')
  assert.equal((await stat(file)).mode & 0o777, 0o600)
  assert.deepEqual(Object.keys(JSON.parse(await readFile(file, 'utf8'))).length, names.length)
})
