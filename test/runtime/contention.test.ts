import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { FaultlineError } from '@faultline/protocol'
import { Contention } from '../../runtime/contention.ts'

function contention(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const changes: (FaultlineError | undefined)[] = []
  const made = new Contention({
    identity: 'plant-a/pi-1',
    shortMs: 1_000,
    calmMs: 20_000,
    lasting: () => {},
    changed: error => changes.push(error),
  })
  const connection = (ms: number) => {
    made.begin()
    t.mock.timers.tick(ms)
    made.ended()
  }
  return { made, changes, connection }
}

test('five connections in a row that were cut short show another client, once', t => {
  const { made, changes, connection } = contention(t)
  for (let i = 0; i < 4; i++) connection(999)
  assert.deepEqual(changes, [])
  for (let i = 0; i < 3; i++) connection(999)
  assert.equal(made.problem?.error.code, 'IDENTITY_CONTESTED')
  assert.deepEqual(changes, [made.problem?.error])
})

test('a connection that lasted, or that this side or the network ended, is no sign of another client', t => {
  const { made, connection } = contention(t)
  for (let i = 0; i < 4; i++) connection(10)
  connection(1_000)
  assert.equal(made.count, 0)
  for (let i = 0; i < 10; i++) {
    made.begin()
    made.leave()
    made.ended()
  }
  assert.equal(made.count, 0)
  assert.equal(made.problem, undefined)
})

test('only a long connection shows that the other client is gone', t => {
  const { made, changes, connection } = contention(t)
  for (let i = 0; i < 5; i++) connection(10)
  connection(19_999)
  assert.ok(made.problem)
  made.begin()
  t.mock.timers.tick(20_000)
  assert.equal(made.problem, undefined)
  assert.equal(changes.length, 2)
})
