import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { identityOf, verifySecret } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { exportRegistry, importRegistry } from '../../provisioning/registry-export.ts'

const press = identityOf('device', 'plant-a', 'press-1')
const pump = identityOf('device', 'plant-a', 'pump-2')
const anna = identityOf('operator', 'anna')

async function openRegistry(t: TestContext): Promise<Registry> {
  const registry = new Registry(':memory:')
  await registry.start()
  t.after(() => registry.stop())
  return registry
}

test('what was exported is the same registry elsewhere, and no secret went along', async t => {
  const from = await openRegistry(t)
  const { secret: old } = await from.enroll(anna)
  const { secret } = await from.rotate(anna.name, { overlapMs: 60_000 })
  const { token } = from.enrollToClaim(press, 60_000)
  await from.enroll(pump)
  from.addCertificate(pump.name, { fingerprint: 'aa', notAfter: new Date(Date.now() + 60_000) })
  from.addCertificate(pump.name, { fingerprint: 'bb', notAfter: new Date(Date.now() + 60_000) })
  from.revoke(pump.name)
  const json = JSON.stringify(exportRegistry(from.database))
  for (const hidden of [old, secret, token]) assert.ok(!json.includes(hidden))

  const to = await openRegistry(t)
  assert.equal(importRegistry(to.database, json, 'fleet.json'), 3)
  assert.deepEqual(to.list({ includeRevoked: true }), from.list({ includeRevoked: true }))
  const { secretHash, formerHash } = to.credential(anna.name)!
  assert.ok((await verifySecret(secret, secretHash)) && (await verifySecret(old, formerHash!)))
  assert.equal(to.certificate('aa'), undefined)
  const claim = { name: press.name, token, keyDigest: 'x' }
  await assert.rejects(
    to.claim(claim, () => Promise.reject(new Error('this far')), 'test'),
    /this far/,
  )
  assert.deepEqual(to.history().slice(0, -1), from.history())
  assert.equal(to.history().at(-1)?.action, 'imported')
  assert.throws(() => importRegistry(to.database, json, 'fleet.json'), { code: 'EXPORT_INVALID' })
})

test('what is no export changes nothing', async t => {
  const registry = await openRegistry(t)
  const whole = exportRegistry(registry.database)
  const identity = {
    name: press.name,
    role: 'device',
    site: 'plant-a',
    secret_hash: '',
    enrolled_at: 'x',
    rotated_at: null,
    revoked_at: null,
  }
  const orphan = { fingerprint: 'aa', name: pump.name, issued_at: 'x', expires_at: 'x', revoked_at: null }
  for (const text of [
    '',
    '[]',
    JSON.stringify({ ...whole, version: 2 }),
    JSON.stringify({ ...whole, identities: [{ ...identity, name: 'x' }] }),
    JSON.stringify({ ...whole, more: [] }),
  ]) {
    assert.throws(() => importRegistry(registry.database, text, 'x.json'), { code: 'EXPORT_INVALID' })
  }
  // Its parts do not belong together.
  const torn = JSON.stringify({ ...whole, identities: [identity], certificates: [orphan] })
  assert.throws(() => importRegistry(registry.database, torn, 'x.json'))
  assert.deepEqual(registry.list(), [])
})
