import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readCertificate } from '@faultline/runtime'
import { certificateUntil } from '../../device-agent/reports/certificate.ts'
import { TestAuthority } from '../support/authority.ts'
import { temporaryDirectory } from '../support/temp.ts'

test('a device says when its certificate ends, and nothing where it has none that can be read', async t => {
  const directory = await temporaryDirectory(t)
  const authority = await TestAuthority.create(directory)
  const { certificate } = await authority.server(30)
  const days = (Date.parse(certificateUntil(certificate)!) - Date.now()) / 86_400_000
  assert.ok(days > 0 && days <= 30, `${days} days`)
  assert.equal(
    certificateUntil(certificate),
    readCertificate(await readFile(certificate, 'utf8')).notAfter.toISOString(),
  )
  assert.equal(certificateUntil(undefined), undefined)
  assert.equal(certificateUntil(join(directory, 'missing.pem')), undefined)
  const torn = join(directory, 'torn.pem')
  await writeFile(torn, '-----BEGIN CERTIFICATE-----')
  assert.equal(certificateUntil(torn), undefined)
})
