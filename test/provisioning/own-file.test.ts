import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { writeNewFile } from '../../provisioning/own-file.ts'
import { temporaryDirectory } from '../support/temp.ts'

test('a file with a secret is for its owner alone, and the owner can read it whatever the umask', async t => {
  const directory = await temporaryDirectory(t)
  for (const umask of [0o000, 0o466]) {
    const file = join(directory, `umask-${umask}.yaml`)
    const before = process.umask(umask)
    try {
      await writeNewFile(file, async () => 'secret: x')
    } finally {
      process.umask(before)
    }
    assert.equal(statSync(file).mode & 0o777, 0o600)
    assert.equal(readFileSync(file, 'utf8'), 'secret: x')
  }
})

test('a file whose content cannot be made is not left behind', async t => {
  const file = join(await temporaryDirectory(t), 'device.yaml')
  await assert.rejects(writeNewFile(file, () => Promise.reject(new Error('enrolment failed'))))
  assert.equal(existsSync(file), false)
})
