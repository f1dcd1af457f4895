import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startFleet, sumOfOutcomes } from '../support/fleet.ts'

test('Ctrl-C, which reaches the process twice, ends a fleet with its summary', { timeout: 60_000 }, async t => {
  const fleet = await startFleet(t, ['--devices', '2', '--no-flows'])
  // From the terminal, and again from the wrapper that the terminal told too.
  fleet.program.child.kill('SIGINT')
  await fleet.program.said(/stopping/)
  assert.equal(await fleet.program.stop('SIGINT'), 0, fleet.program.output)
  assert.match(fleet.program.output, /windows = \d+ accepted/)
  const summary = await fleet.summary()
  assert.equal(sumOfOutcomes(summary), summary.windows)
})
