import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sendLogin } from '../support/dashboard.ts'
import { startFleet, sumOfOutcomes } from '../support/fleet.ts'

test('a simulated fleet raises an alarm for each machine that develops a fault, and for no other', {
  timeout: 120_000,
}, async t => {
  const fleet = await startFleet(t, ['--devices', '4', '--duration', '30', '--speed', '2'])
  const { status } = await sendLogin(fleet.dashboardUrl, fleet.admin.name, fleet.admin.password)
  assert.equal(status, 303, 'the name and password that it shows open its dashboard')
  assert.equal(await fleet.program.exited, 0, fleet.program.output)
  const summary = await fleet.summary()

  assert.equal(sumOfOutcomes(summary), summary.windows)
  assert.ok(summary.windows > 100, `${summary.windows} windows`)
  assert.ok(summary.answered > 0, 'no escalation was answered')
  assert.equal(summary.falseAlarms, 0)
  for (const machine of summary.machines) {
    assert.equal(
      machine.alarms.length > 0,
      machine.truth !== 'normal',
      `${machine.machine} (${machine.truth}): ${machine.alarms}`,
    )
  }
  assert.ok(summary.bytesSent < summary.bytesIfAllEscalated)
})
