import { test } from 'node:test'
import { checkOut, missingCommit } from '../support/checkout.ts'
import { root } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { componentNames } from '../support/versioned-site.ts'
import { type Step, Trial } from './trial.ts'

/** Version 0.1.0, whose readers refuse fields that they do not know. */
const strict = '01de12ed'

test('a site of 0.1.0 is upgraded readers first, rolled back in reverse, and loses nothing', {
  skip: missingCommit(strict),
  timeout: 600_000,
}, async t => {
  const before = await checkOut(strict, await temporaryDirectory(t))
  const trial = await Trial.start(t, before)
  const up = componentNames.map((name): Step => [name, root])
  const down = componentNames.map((name): Step => [name, before])
  await trial.run([...up, ...down.reverse()])
})
