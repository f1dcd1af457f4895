import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dataDirectory, missingData } from '../support/data.ts'
import { startFleet, sumOfOutcomes } from '../support/fleet.ts'

test('real recordings the models never saw go through the whole path', {
  skip: missingData('cwru'),
  timeout: 120_000,
}, async t => {
  const fleet = await startFleet(t, [
    '--source',
    `${dataDirectory}/cwru`,
    '--devices',
    '4',
    '--duration',
    '25',
    '--speed',
    '2',
  ])
  assert.equal(await fleet.program.exited, 0, fleet.program.output)
  const summary = await fleet.summary()

  assert.equal(sumOfOutcomes(summary), summary.windows)
  assert.equal(summary.machines.filter(machine => machine.truth === 'normal').length, 1)
  assert.equal(summary.falseAlarms, 0)
  for (const machine of summary.machines) {
    assert.equal(
      machine.alarms.length > 0,
      machine.truth !== 'normal',
      `${machine.machine} (${machine.truth}): ${machine.alarms}`,
    )
  }
  // The local model may know all of these; asking must not make it worse.
  const { local, final } = summary.accuracy
  assert.ok(final >= local && final > 0.97, JSON.stringify(summary.accuracy))
  assert.ok(
    summary.bytesSent < 0.75 * summary.bytesIfAllEscalated,
    `${summary.bytesSent} of ${summary.bytesIfAllEscalated} bytes`,
  )
})
