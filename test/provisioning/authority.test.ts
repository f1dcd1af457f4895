import assert from 'node:assert/strict'
import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { authorityPaths, initAuthority, loadAuthority, loadAuthorityCertificate } from '../../provisioning/authority.ts'
import { temporaryDirectory } from '../support/temp.ts'

test('the authority is made once, and its key is for its owner alone', async t => {
  const registry = join(await temporaryDirectory(t), 'registry.db')
  await assert.rejects(loadAuthority(registry), { code: 'AUTHORITY_MISSING' })
  await assert.rejects(loadAuthorityCertificate(registry), { code: 'AUTHORITY_MISSING' })
  const { fingerprint } = await initAuthority(registry, 'Fleet', 1)
  const { key } = authorityPaths(registry)
  assert.equal((await stat(key)).mode & 0o777, 0o600)
  const before = await readFile(key, 'utf8')
  await assert.rejects(initAuthority(registry, 'Fleet', 1), { code: 'AUTHORITY_EXISTS' })
  assert.equal(await readFile(key, 'utf8'), before)
  assert.equal((await loadAuthorityCertificate(registry)).fingerprint, fingerprint)
})
