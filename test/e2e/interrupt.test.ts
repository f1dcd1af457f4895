import assert from 'node:assert/strict'
import { test } from 'node:test'
import { startFleet, sumOfOutcomes } from '../support/fleet.ts'
import { startScript } from '../support/processes.ts'
import { temporaryDirectory } from '../support/temp.ts'

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

test('a fleet told of a broker that is not there says so and ends', { timeout: 60_000 }, async t => {
  const directory = await temporaryDirectory(t)
  const program = startScript(t, 'fleet/main.ts', ['--directory', directory, '--broker', 'mqtt://127.0.0.1:1'])
  assert.equal(await program.exited, 1)
  assert.match(program.output, /^error BROKER_UNREACHABLE: mqtt:\/\/127\.0\.0\.1:1: /m)
})
