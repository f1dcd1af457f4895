import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import util from 'node:util'
import { defineUtilHelpers } from '../../inference/engines/util-helpers.ts'
import { root, startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { missingEngine } from './bundles.ts'

test('what this Node has stays as it is', () => {
  const before = Object.entries(util)
  defineUtilHelpers()
  assert.deepEqual(Object.entries(util), before)
})

/** Runs a script in a process whose `util` lacks what Node 23 and later lack. */
async function withoutHelpers(t: TestContext, script: string) {
  const file = join(await temporaryDirectory(t), 'script.mts')
  const engines = join(root, 'inference', 'engines')
  await writeFile(
    file,
    `import util from 'node:util'
delete (util as any).isNullOrUndefined
delete (util as any).isArray
const { defineUtilHelpers } = await import(${JSON.stringify(join(engines, 'util-helpers.ts'))})
const { importTfjsNode } = await import(${JSON.stringify(join(engines, 'tfjs-node.ts'))})
${script}`,
  )
  const program = startScript(t, file)
  return { code: await program.exited, output: program.output }
}

test('helpers that are missing are defined, for modules of either kind', async t => {
  const { code, output } = await withoutHelpers(
    t,
    `import { createRequire } from 'node:module'
defineUtilHelpers()
const { isNullOrUndefined, isArray } = createRequire(import.meta.url)('util')
console.log(JSON.stringify([undefined, null, 0, '', []].map(value => [isNullOrUndefined(value), isArray(value)])))`,
  )
  assert.equal(code, 0, output)
  const expected = [
    [true, false],
    [true, false],
    [false, false],
    [false, false],
    [false, true],
  ]
  assert.ok(output.includes(JSON.stringify(expected)), output)
})

test('tfjs-node runs where they are missing', { skip: missingEngine('tfjs-node') }, async t => {
  const tfjs = JSON.stringify(join(root, 'node_modules', '@tensorflow', 'tfjs', 'dist', 'tf.node.js'))
  const native = join(root, 'node_modules', '@tensorflow', 'tfjs-node', 'dist', 'index.js')
  // Choosing the largest values goes through all of them.
  const run = (load: string) =>
    withoutHelpers(
      t,
      `${load}
const { default: tf } = await import(${tfjs})
await tf.setBackend('tensorflow')
console.log(tf.getBackend(), Array.from(tf.topk(tf.tensor1d([1, 3, 2]), 2).values.dataSync()).join())`,
    )
  const { code, output } = await run('await importTfjsNode()')
  assert.equal(code, 0, output)
  assert.match(output, /tensorflow 3,2/)
  // And fails without: otherwise this test says nothing.
  assert.match((await run(`await import(${JSON.stringify(native)})`)).output, /isNullOrUndefined/)
})
