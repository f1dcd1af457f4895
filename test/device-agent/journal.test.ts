import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { Disk } from '../../device-agent/updates/disk.ts'
import { Journal } from '../../device-agent/updates/journal.ts'
import { temporaryDirectory } from '../support/temp.ts'

for (const content of ['', 'no JSON', '{"version":9}']) {
  test(`a journal of updates that holds "${content}" counts as absent, says so and is kept`, async t => {
    const directory = await temporaryDirectory(t)
    await writeFile(join(directory, 'journal.json'), content)
    const journal = new Journal(directory, new Disk(), 'configured')
    assert.equal(journal.model, null)
    assert.ok(journal.damage)
    assert.equal(await readFile(await journal.setAside(), 'utf8'), content)
    assert.equal(new Journal(directory, new Disk(), 'configured').damage, undefined)
  })
}
