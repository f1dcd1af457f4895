import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { Commands } from '../../device-agent/control/commands.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { temporaryDirectory } from '../support/temp.ts'

async function openCommands(t: TestContext, directory?: string) {
  const place = directory ?? (await temporaryDirectory(t))
  const database = openStorage(place)
  t.after(() => database.isOpen && database.close())
  let calls = 0
  const commands = new Commands(database, {
    count: async () => {
      calls++
      await new Promise(resolve => setImmediate(resolve))
      return { calls }
    },
    fail: () => {
      throw new Error('no')
    },
    hang: () => {
      calls++
      return new Promise(() => {})
    },
  })
  return { commands, database, place, calls: () => calls }
}

const count = (id: string) => ({ id, name: 'count', args: {} })

test('the same id twice at once is carried out once', async t => {
  const { commands, calls } = await openCommands(t)
  const [first, second] = await Promise.all([commands.execute(count('a')), commands.execute(count('a'))])
  assert.deepEqual(first, second)
  assert.equal(calls(), 1)
})

test('an id is remembered over a restart', async t => {
  const before = await openCommands(t)
  const result = await before.commands.execute(count('a'))
  before.database.close()
  const after = await openCommands(t, before.place)
  assert.deepEqual(await after.commands.execute(count('a')), result)
  assert.equal(after.calls(), 0)
})

test('a command that fails has a result too', async t => {
  const { commands } = await openCommands(t)
  const result = await commands.execute({ id: 'b', name: 'fail', args: {} })
  assert.equal(result.ok, false)
  assert.deepEqual(result.error, { code: 'INTERNAL', message: 'no' })
})

test('only the last thousand results are kept', async t => {
  const { commands, calls, database } = await openCommands(t)
  database.exec('BEGIN')
  for (let i = 0; i < 1_001; i++) await commands.execute(count(String(i)))
  database.exec('COMMIT')
  await commands.execute(count('1000'))
  assert.equal(calls(), 1_001)
  await commands.execute(count('0'))
  assert.equal(calls(), 1_002)
})

test('where the database fails, a command is refused with a coded error and no other', async t => {
  const { commands, database } = await openCommands(t)
  await commands.execute(count('a'))
  database.exec(`UPDATE command_results SET result = 'no JSON'`)
  await assert.rejects(commands.execute(count('a')), { code: 'DATABASE_FAILED' })
  database.close()
  await assert.rejects(commands.execute(count('b')), { code: 'DATABASE_FAILED' })
})

test('a command that was cut off is carried out again after a restart, once, and then has an error as its result', async t => {
  const hang = { id: 'c', name: 'hang', args: {} }
  const first = await openCommands(t)
  await first.commands.execute(count('before'))
  void first.commands.execute(hang).catch(() => {}) // Its message is acknowledged now.
  assert.deepEqual([...first.commands.unfinished()], [], 'it is under way')
  first.database.close()

  const second = await openCommands(t, first.place)
  assert.deepEqual([...second.commands.unfinished()], [hang])
  void second.commands.execute(hang).catch(() => {})
  assert.equal(second.calls(), 1)
  second.database.close()

  const third = await openCommands(t, first.place)
  assert.deepEqual([...third.commands.unfinished()], [hang])
  const result = await third.commands.execute(hang)
  assert.deepEqual([result.ok, result.error?.code, third.calls()], [false, 'COMMAND_INTERRUPTED', 0])
  third.database.close()

  const fourth = await openCommands(t, first.place)
  assert.deepEqual([...fourth.commands.unfinished()], [])
  assert.deepEqual(await fourth.commands.execute(hang), result)
})
