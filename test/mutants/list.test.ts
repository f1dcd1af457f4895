import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { root } from '../support/processes.ts'
import { type Mutant, mutants } from './list.ts'
import { mutate } from './tree.ts'

const mutant = (find: string, replace: string): Mutant => ({ file: 'a.ts', find, replace, tests: [], breaks: '' })

test('every fault is in a file that there is, and named beside tests that there are', () => {
  for (const { file, tests } of mutants) {
    assert.ok(existsSync(join(root, file)), file)
    assert.ok(tests.length > 0, file)
    for (const name of tests) assert.ok(existsSync(join(root, 'test', `${name}.test.ts`)), `${file}: ${name}`)
  }
  assert.equal(new Set(mutants.map(({ file, find }) => `${file} ${find}`)).size, mutants.length)
})

test('a fault changes one place, and leaves a file that loads', () => {
  const text = 'export const a: number = 1\nexport const b: number = 2\n'
  assert.deepEqual(mutate(text, mutant('= 2', '= 3')), { text: text.replace('2', '3') })
  assert.deepEqual(mutate(text, mutant('= 4', '')), { outcome: 'not found' })
  assert.deepEqual(mutate(text, mutant('number', 'string')), { outcome: 'not found' })
  assert.deepEqual(mutate(text, mutant('= 2', '= (')), { outcome: 'not TypeScript' })
})
