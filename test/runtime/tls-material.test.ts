import assert from 'node:assert/strict'
import { copyFile, readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { silentLogger, TlsMaterial } from '@faultline/runtime'
import { TestAuthority } from '../support/authority.ts'
import { temporaryDirectory } from '../support/temp.ts'

test('an empty file is no certificate', async t => {
  const directory = await temporaryDirectory(t)
  const authority = await TestAuthority.create(directory)
  const pair = await authority.server()
  const empty = join(directory, 'empty.pem')
  await writeFile(empty, '')
  for (const files of [
    { ...pair, certificate: empty },
    { ...pair, key: empty },
  ]) {
    const material = new TlsMaterial(files, silentLogger)
    t.after(() => material.stop())
    assert.throws(() => material.start(), { code: 'CERTIFICATE_INVALID', message: /empty/ })
  }
})

test('half of a new pair is passed over until the other half is there', async t => {
  const directory = await temporaryDirectory(t)
  const authority = await TestAuthority.create(directory)
  const pair = await authority.server()
  const alive = setInterval(() => {}, 1_000) // The files are watched without keeping a process alive for it.
  t.after(() => clearInterval(alive))
  const files = { certificate: join(directory, 'live.pem'), key: join(directory, 'live.key') }
  await copyFile(pair.certificate, files.certificate)
  await copyFile(pair.key, files.key)
  const material = new TlsMaterial(files, silentLogger, 10)
  material.start()
  t.after(() => material.stop())
  const first = material.context
  const renewed = new Promise<void>(resolve => material.onChange(() => resolve()))
  const next = await authority.server()
  // Half of the pair is not used: the other half does not fit it.
  await copyFile(next.certificate, files.certificate)
  assert.equal(material.context, first)
  await copyFile(next.key, `${files.key}.new`)
  await rename(`${files.key}.new`, files.key)
  await renewed
  assert.equal(String(material.context.cert), await readFile(next.certificate, 'utf8'))
  assert.equal(String(material.context.key), await readFile(next.key, 'utf8'))
})
