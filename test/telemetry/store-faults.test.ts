import assert from 'node:assert/strict'
import { join } from 'node:path'
import { DatabaseSync, StatementSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Random } from '@faultline/inference'
import { silentLogger } from '@faultline/runtime'
import { SqliteStore } from '../../telemetry/stores/sqlite.ts'
import { WriteQueue } from '../../telemetry/write-queue.ts'
import { pick } from '../support/mutations.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { rounds } from '../support/thorough.ts'
import { forever, inferencePoint, iso, noon } from './messages.ts'

/** Errors as SQLite throws them: no room, another process has the lock, the disk does not read or write. */
const errors = [
  { errcode: 13, message: 'database or disk is full' },
  { errcode: 5, message: 'database is locked' },
  { errcode: 10, message: 'disk I/O error' },
]

/** Has every call of SQLite throw once in a while, before it does anything. */
function injectFaults(t: TestContext, random: Random): { thrown: number; active: boolean } {
  const faults = { thrown: 0, active: true }
  const fail = () => {
    if (!faults.active || random.uniform() > 0.01) return
    faults.thrown++
    const { message, ...error } = pick(random, errors)
    throw Object.assign(new Error(message), { code: 'ERR_SQLITE_ERROR', ...error })
  }
  for (const name of ['run', 'all', 'get'] as const) {
    const call = StatementSync.prototype[name] as (...args: unknown[]) => unknown
    t.mock.method(StatementSync.prototype, name, function (this: StatementSync, ...args: unknown[]) {
      fail()
      return call.apply(this, args)
    })
  }
  const exec = DatabaseSync.prototype.exec
  t.mock.method(DatabaseSync.prototype, 'exec', function (this: DatabaseSync, sql: string) {
    // Without the lock there is nothing to roll back; a transaction that is not rolled back would be SQLite's fault.
    if (sql !== 'ROLLBACK') fail()
    return exec.call(this, sql)
  })
  return faults
}

test('a store in which every call may fail costs no point, and every failure is counted', async t => {
  const directory = await temporaryDirectory(t)
  const faults = injectFaults(t, new Random(1))
  const store = new SqliteStore({ path: join(directory, 'telemetry.sqlite'), retention: forever })
  // The next write opens it.
  await store.start().catch(() => {})
  const queue = new WriteQueue({
    store,
    logger: silentLogger,
    spool: { directory: join(directory, 'spool') },
    batch: { maxPoints: 10, maxDelayMs: 1 },
    backOff: { initialMs: 1, maximumMs: 2 },
  })
  await queue.start()
  const count = rounds(5_000, 0.4)
  for (let i = 0; i < count; i++) {
    queue.add(inferencePoint({ id: `${i}`, at: iso(noon + i) }))
    if (i % 200 === 0) await store.rollUp(0, 0).catch(() => {})
    if (i % 10 === 0) await nextTurn()
  }
  await queue.whenWritten()
  faults.active = false
  assert.ok(faults.thrown > 10, `${faults.thrown} faults`)
  assert.ok(queue.failed > 0)
  assert.equal(queue.outage, undefined)
  assert.deepEqual(queue.spool.dropped, { full: 0, age: 0, disk: 0 })
  assert.equal(store.upkeep.setAside, 0)
  await store.rollUp(0, 0)
  assert.deepEqual(await store.counts({ groupBy: [] }), [{ count }])
  await queue.stop()
  await store.stop()
})
