import { test } from 'node:test'
import { checkOut, missingCommit } from '../support/checkout.ts'
import { root } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { componentNames } from '../support/versioned-site.ts'
import { type Step, Trial } from './trial.ts'

/** One of the first whose readers are tolerant; the schemas of its recorder and its archive are older than today's. */
const tolerant = '371a272e'
// In this order, there and back, every two components meet in all four combinations of their versions.
test('components of two versions work in every mixture, and an upgrade and a roll-back of each lose nothing', {
  skip: missingCommit(tolerant),
  timeout: 600_000,
}, async t => {
  const before = await checkOut(tolerant, await temporaryDirectory(t))
  const trial = await Trial.start(t, before)
  await trial.run([root, before].flatMap(code => componentNames.map((name): Step => [name, code])))
})
