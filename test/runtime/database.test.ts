import assert from 'node:assert/strict'
import { mkdir, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type DatabaseSync, inTransaction, openDatabase, openReadOnly } from '@faultline/runtime'
import { moveLogAside } from '../../runtime/database-file.ts'
import { runProgramFile } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'

const first = 'CREATE TABLE windows (id TEXT PRIMARY KEY) STRICT'
const second = "ALTER TABLE windows ADD COLUMN label TEXT NOT NULL DEFAULT 'none'"

async function opener(t: TestContext): Promise<{ path: string; open: (...scripts: string[]) => DatabaseSync }> {
  const path = join(await temporaryDirectory(t), 'deep', 'down', 'store.db')
  const open = (...scripts: string[]): DatabaseSync => {
    const database = openDatabase(path, scripts)
    t.after(() => database.isOpen && database.close())
    return database
  }
  return { path, open }
}

const pragma = (database: DatabaseSync, name: string): unknown =>
  Object.values(database.prepare(`PRAGMA ${name}`).get() ?? {})[0]

test('a new file gets its directory, its schema and write-ahead mode', async t => {
  const { open } = await opener(t)
  const database = open(first, second)
  assert.equal(pragma(database, 'journal_mode'), 'wal')
  assert.equal(pragma(database, 'foreign_keys'), 1)
  assert.equal(pragma(database, 'busy_timeout'), 5_000)
  assert.equal(pragma(database, 'user_version'), 2)
  database.exec("INSERT INTO windows (id) VALUES ('a')")
  assert.deepEqual({ ...database.prepare('SELECT * FROM windows').get() }, { id: 'a', label: 'none' })
})

test('an older file is brought up to date and keeps its rows', async t => {
  const { open } = await opener(t)
  const old = open(first)
  old.exec("INSERT INTO windows (id) VALUES ('a')")
  old.close()
  const database = open(first, second)
  assert.deepEqual({ ...database.prepare('SELECT * FROM windows').get() }, { id: 'a', label: 'none' })
  database.close()
  assert.equal(pragma(open(first, second), 'user_version'), 2)
})

test('a file of a newer version is refused and left as it is', async t => {
  const { path, open } = await opener(t)
  open(first, second).close()
  assert.throws(() => open(first), {
    code: 'DATABASE_FAILED',
    reason: 'newer',
    message: /store\.db: written by a newer version: install that version.* \(schema 2; this version reads up to 1\)/,
  })
  assert.equal(pragma(open(first, second), 'user_version'), 2)
  assert.throws(() => openDatabase(path, []), { code: 'DATABASE_FAILED' })
})

test('a migration that fails changes nothing', async t => {
  const { open } = await opener(t)
  open(first).close()
  assert.throws(() => open(first, `${second}; CREATE TABLE broken (`), { code: 'DATABASE_FAILED' })
  const database = open(first)
  assert.equal(pragma(database, 'user_version'), 1)
  assert.deepEqual(Object.keys(database.prepare('PRAGMA table_info(windows)').all()), ['0'])
})

test('a path that cannot be a database has a code', async t => {
  const directory = await temporaryDirectory(t)
  await writeFile(
    join(directory, 'text.db'),
    'this is not a database, and it is long enough to be seen as such'.repeat(50),
  )
  await mkdir(join(directory, 'folder.db'))
  for (const name of ['text.db', 'folder.db', 'text.db/below.db']) {
    assert.throws(() => openDatabase(join(directory, name), [first]), { code: 'DATABASE_FAILED' }, name)
    assert.throws(() => openReadOnly(join(directory, name)), { code: 'DATABASE_FAILED' }, name)
  }
  assert.throws(() => openReadOnly(join(directory, 'none.db')), { code: 'DATABASE_FAILED', message: /no such file/ })
})

test('a reader sees what another connection wrote and cannot write', async t => {
  const { path, open } = await opener(t)
  const database = open(first)
  const reader = openReadOnly(path)
  t.after(() => reader.close())
  database.exec("INSERT INTO windows (id) VALUES ('a')")
  assert.equal(reader.prepare('SELECT count(*) AS n FROM windows').get()?.n, 1)
  assert.throws(() => reader.exec("INSERT INTO windows (id) VALUES ('b')"), /readonly/)
})

test('a transaction that throws leaves nothing behind, and its reason is kept', () => {
  const database = openDatabase(':memory:', [first])
  const reason = new Error('no')
  assert.throws(
    () =>
      inTransaction(database, () => {
        database.exec("INSERT INTO windows (id) VALUES ('a')")
        throw reason
      }),
    reason,
  )
  assert.equal(database.prepare('SELECT count(*) AS n FROM windows').get()?.n, 0)
  assert.equal(
    inTransaction(database, () => 7),
    7,
  )
  assert.throws(
    () =>
      inTransaction(database, () => {
        database.exec('ROLLBACK') // As SQLite does by itself when the disk is full.
        throw reason
      }),
    reason,
  )
  database.close()
})

test('several processes may open a new file at once, and find what each of them wrote', async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'shared.db')
  const program = 'test/runtime/fixtures/open-database.ts'
  const results = await Promise.all(Array.from({ length: 4 }, () => runProgramFile(program, [path])))
  for (const { code, stderr } of results) assert.equal(code, 0, stderr)
  const database = openReadOnly(path)
  assert.deepEqual({ ...database.prepare('SELECT count(*) AS windows FROM windows').get() }, { windows: 80 })
  database.close()
  assert.deepEqual(
    (await readdir(directory)).filter(name => name.includes('.damaged-')),
    [],
  )
})

test('the log of a database that was deleted is set aside, not taken for that of the new one', async t => {
  const { path, open } = await opener(t)
  const deleted = open(first)
  deleted.exec("INSERT INTO windows VALUES ('old')")
  await rm(path)
  assert.ok((await stat(`${path}-wal`)).size > 0)
  const database = open(first)
  assert.deepEqual(database.prepare('SELECT * FROM windows').all(), [])
  const aside = (await readdir(dirname(path))).filter(name => name.includes('.damaged-'))
  assert.equal(aside.length, 1)
  assert.match(aside[0]!, /-wal$/)
})

test('the log of a database that another process has just made stays where it is', async t => {
  const { path, open } = await opener(t)
  open(first)
  const log = await stat(`${path}-wal`)
  moveLogAside(path, Object.assign(log, { ino: log.ino + 1 }))
  assert.ok((await stat(`${path}-wal`)).isFile())
})
