import assert from 'node:assert/strict'
import { test } from 'node:test'
import { silentLogger } from '@faultline/runtime'
import { Revocations } from '../../broker/revocations.ts'
import { fixedRegistry } from '../support/registry.ts'

test('a change of the registry is noticed within a second, once, and a failure is tried again', t => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let version = 'a'
  let changes = 0
  let failures = 1
  const revocations = new Revocations({
    registry: { ...fixedRegistry(() => undefined), version: () => version },
    changed: () => {
      if (failures-- > 0) throw new Error('the file is busy')
      changes++
    },
    logger: silentLogger,
  })
  revocations.start()
  t.after(() => revocations.stop())
  t.mock.timers.tick(1_000)
  assert.equal(changes, 1)
  t.mock.timers.tick(1_000)
  assert.equal(changes, 1)
  version = 'b'
  t.mock.timers.tick(1_000)
  assert.equal(changes, 2)
})
