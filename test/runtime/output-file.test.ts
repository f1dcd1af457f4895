import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkOutput, writeJson, writeText } from '@faultline/runtime'
import { temporaryDirectory } from '../support/temp.ts'

test('a path that cannot be written is refused before the work and after it, by the same code', async t => {
  const file = join(await temporaryDirectory(t), 'missing', 'result.json')
  await assert.rejects(checkOutput(file), { code: 'OUTPUT_UNWRITABLE' })
  await assert.rejects(writeJson(file, {}), { code: 'OUTPUT_UNWRITABLE' })
})

test('a result stands in its file; checking before harms nothing that is there', async t => {
  const file = join(await temporaryDirectory(t), 'result.json')
  await writeJson(file, { windows: 3 })
  await checkOutput(file)
  assert.deepEqual(JSON.parse(await readFile(file, 'utf8')), { windows: 3 })
})

test('where no file was asked for, nothing is made', async () => {
  await checkOutput(undefined)
  await writeText(undefined, () => assert.fail('made'))
})
