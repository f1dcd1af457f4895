import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { openDatabase } from '@faultline/runtime'
import { Transactions } from '../../broker/persistence/transactions.ts'

function open() {
  const database = openDatabase(':memory:', ['CREATE TABLE entries (name TEXT PRIMARY KEY) STRICT'])
  const transactions = new Transactions({ database, path: ':memory:', restore: 'restart' })
  const put = database.prepare('INSERT INTO entries (name) VALUES (?)')
  const add = (name: string) => () => void put.run(name)
  const names = () =>
    (database.prepare('SELECT name FROM entries ORDER BY name').all() as { name: string }[]).map(({ name }) => name)
  return { database, transactions, add, names }
}

test('a change that the store cannot take costs none of those beside it', async () => {
  const { transactions, add, names } = open()
  const results = await Promise.allSettled(['a', 'b', 'a', 'c'].map(name => transactions.change(add(name))))
  assert.deepEqual(
    results.map(({ status }) => status),
    ['fulfilled', 'fulfilled', 'rejected', 'fulfilled'],
  )
  assert.deepEqual(names(), ['a', 'b', 'c'])
  assert.equal(transactions.refusal, undefined)
})

test('a change of which a part fails leaves nothing behind', async () => {
  const { transactions, add, names } = open()
  const both = transactions.change(() => {
    add('a')()
    add('a')()
  })
  await assert.rejects(both, { code: 'DATABASE_FAILED' })
  assert.deepEqual(names(), [])
})

test('what is owed is made before everything else once the store takes changes again, the last of each key', async () => {
  const { database, transactions, add, names } = open()
  database.exec('PRAGMA query_only = ON')
  await transactions.owe('key', add('first'))
  await transactions.owe('key', add('second'))
  await transactions.owe('forgiven', add('third'))
  transactions.forgive('forgiven')
  await assert.rejects(transactions.change(add('fourth')), { code: 'DATABASE_FAILED' })
  const writable = once(transactions, 'writable')
  database.exec('PRAGMA query_only = OFF')
  await writable
  assert.deepEqual(names(), ['second'])
  assert.equal(transactions.owes('key'), false)
})

test('closing makes what waits, and what is owed', async () => {
  const { database, transactions, add, names } = open()
  database.exec('PRAGMA query_only = ON')
  await transactions.owe('key', add('owed'))
  database.exec('PRAGMA query_only = OFF')
  transactions.close()
  assert.deepEqual(names(), ['owed'])
})
