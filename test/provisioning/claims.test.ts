import assert from 'node:assert/strict'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { type CertifiedKey, createAuthority, createRequest, keyDigestOf, signRequest } from '@faultline/runtime'
import { temporaryDirectory } from '../support/temp.ts'

const press = identityOf('device', 'plant-a', 'press-1')
const authority: CertifiedKey = await createAuthority('Fleet', 1)
const refused = { code: 'CLAIM_REFUSED' }

async function openRegistry(t: TestContext, path = ':memory:'): Promise<Registry> {
  const registry = new Registry(path)
  await registry.start()
  t.after(() => registry.stop())
  return registry
}

/** A device with a key of its own that claims a certificate. */
async function claimant(token: string) {
  const { request } = await createRequest(press.name)
  const keyDigest = await keyDigestOf(request)
  return (registry: Registry) =>
    registry.claim(
      { name: press.name, token, keyDigest },
      async () => ({
        certificate: await signRequest(authority, request, { name: press.name, days: 1 }),
        authority: 'of the tests',
      }),
      'test',
    )
}

test('a claim is good for one key, which may ask again for an answer that was lost', async t => {
  const registry = await openRegistry(t)
  const { token } = registry.enrollToClaim(press, 60_000)
  const [device, thief] = [await claimant(token), await claimant(token)]
  const certificate = await device(registry)
  await assert.rejects(thief(registry), refused)
  assert.equal(await device(registry), certificate)
  assert.equal(registry.history(press.name).filter(({ action }) => action === 'claimed').length, 1)
  assert.equal(registry.show(press.name).claimUntil, undefined)
})

test('of two that claim at the same moment through two processes one gets a certificate', async t => {
  const path = join(await temporaryDirectory(t), 'registry.db')
  const [one, other] = [await openRegistry(t, path), await openRegistry(t, path)]
  const { token } = one.enrollToClaim(press, 60_000)
  const outcomes = await Promise.allSettled([(await claimant(token))(one), (await claimant(token))(other)])
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected'])
})

test('a wrong token, an expired one, one that was replaced and one of a revoked identity claim nothing', async t => {
  const registry = await openRegistry(t)
  await assert.rejects((await claimant('x'))(registry), refused)
  const expired = registry.enrollToClaim(press, 0)
  await assert.rejects((await claimant(expired.token))(registry), refused)
  const first = registry.openClaim(press.name, 60_000, 'packaged')
  const second = registry.openClaim(press.name, 60_000, 'packaged')
  await assert.rejects((await claimant(first.token))(registry), refused)
  registry.revoke(press.name)
  await assert.rejects((await claimant(second.token))(registry), refused)
})

test('a claim whose certificate cannot be made is not spent', async t => {
  const registry = await openRegistry(t)
  const { token } = registry.enrollToClaim(press, 60_000)
  const claim = { name: press.name, token, keyDigest: 'aa' }
  await assert.rejects(registry.claim(claim, () => Promise.reject(new Error('no')), 'test'))
  await (await claimant(token))(registry)
})
