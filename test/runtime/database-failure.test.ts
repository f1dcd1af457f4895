import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { truncateSync, watch, writeFileSync } from 'node:fs'
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import {
  databaseFailure,
  inTransaction,
  openDatabase,
  openOrSetAside,
  setAsideOf,
  toDatabaseError,
} from '@faultline/runtime'
import { startScript } from '../support/processes.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { openDatabaseSchema } from './fixtures/open-database-schema.ts'

const schema = ['CREATE TABLE windows (id INTEGER PRIMARY KEY, payload BLOB) STRICT']

/** A store with a hundred windows, closed in order. */
async function store(t: TestContext): Promise<string> {
  const path = join(await temporaryDirectory(t), 'store.db')
  const database = openDatabase(path, schema)
  inTransaction(database, () => {
    const insert = database.prepare('INSERT INTO windows (payload) VALUES (?)')
    for (let i = 0; i < 100; i++) insert.run(Buffer.alloc(1_000, i))
  })
  database.close()
  return path
}

const count = (database: DatabaseSync): unknown => database.prepare('SELECT count(*) AS n FROM windows').get()?.n

const damages: Record<string, (path: string) => void> = {
  'zero bytes': path => truncateSync(path),
  'half a header': path => truncateSync(path, 50),
  'half of its pages': path => truncateSync(path, 40_000),
  'another kind of content': path => writeFileSync(path, 'not a database\n'.repeat(1_000)),
  'a page of zeros in the middle': path => {
    const database = new DatabaseSync(path)
    const { rootpage } = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'windows'").get() as {
      rootpage: number
    }
    database.close()
    const content = Buffer.alloc(4_096)
    spawnSync('dd', [`of=${path}`, 'bs=4096', `seek=${rootpage - 1}`, 'conv=notrunc'], { input: content })
  },
}

for (const [damage, apply] of Object.entries(damages)) {
  test(`a file with ${damage} is set aside with what is beside it, and a new one is made`, async t => {
    const path = await store(t)
    apply(path)
    const content = await readFile(path)
    await writeFile(`${path}-shm`, 'left by a crash')
    const { database, setAside } = openOrSetAside(path, schema, { mode: 0o600 })
    assert.ok(setAside)
    assert.match(basename(setAside.path), /^store\.db\.damaged-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z$/)
    assert.equal(setAside.bytes, content.length)
    assert.notEqual(setAside.damage, '')
    assert.deepEqual(await readFile(setAside.path), content)
    assert.deepEqual(setAsideOf(path), [setAside.path])
    assert.equal(count(database), 0)
    assert.equal((await stat(path)).mode & 0o777, 0o600)
    database.exec('INSERT INTO windows DEFAULT VALUES')
    database.close()
    const again = openOrSetAside(path, schema)
    assert.equal(again.setAside, undefined)
    assert.equal(count(again.database), 1)
    again.database.close()
  })
}

test('the three newest damaged files are kept', async t => {
  const path = await store(t)
  const aside: string[] = []
  for (let i = 0; i < 5; i++) {
    await writeFile(path, `damaged ${i}`.repeat(100))
    const { database, setAside } = openOrSetAside(path, schema)
    database.close()
    aside.push(setAside!.path)
    await new Promise(resolve => setTimeout(resolve, 2)) // Their names tell milliseconds apart.
  }
  assert.deepEqual(setAsideOf(path), aside.slice(-3))
})

test('only damage makes a file give way', async t => {
  const path = await store(t)
  openDatabase(path, [...schema, 'CREATE TABLE later (id INTEGER) STRICT']).close()
  assert.throws(() => openOrSetAside(path, schema), { code: 'DATABASE_FAILED', reason: 'newer' })
  const folder = join(await temporaryDirectory(t), 'folder.db')
  await mkdir(folder)
  assert.throws(() => openOrSetAside(folder, schema), { code: 'DATABASE_FAILED', reason: 'other' })
  assert.deepEqual(setAsideOf(path), [])
  assert.deepEqual(setAsideOf(folder), [])
  const { database, setAside } = openOrSetAside(':memory:', schema)
  assert.equal(setAside, undefined)
  database.close()
})

test('a damaged file is named, with what mends it', async t => {
  const path = await store(t)
  truncateSync(path)
  assert.throws(() => openDatabase(path, schema), {
    code: 'DATABASE_FAILED',
    reason: 'damaged',
    message: `${path}: damaged: stop the program and move the file away ("mv ${path} ${path}.damaged"); a new one is made (the file has zero bytes)`,
  })
  assert.throws(() => openDatabase(path, schema, { restore: 'restore it with "npm run provision -- import FILE"' }), {
    reason: 'damaged',
    message: `${path}: damaged: restore it with "npm run provision -- import FILE" (the file has zero bytes)`,
  })
  assert.equal((await stat(path)).size, 0)
})

test('a lock of another process is named', async t => {
  const path = await store(t)
  const other = new DatabaseSync(path)
  t.after(() => other.close())
  other.exec('BEGIN IMMEDIATE')
  const database = openDatabase(path, schema)
  t.after(() => database.close())
  database.exec('PRAGMA busy_timeout = 0')
  assert.throws(
    () => inTransaction(database, () => {}),
    (thrown: unknown) => {
      const error = toDatabaseError(thrown, path)
      assert.equal(databaseFailure(thrown), 'locked')
      assert.equal(databaseFailure(error), 'locked')
      assert.match(error.message, /store\.db: locked by another process: .*fuser/)
      return true
    },
  )
})

test('a disk without room is named, and a damaged file stays until there is room for a new one', async t => {
  const disk = await SmallDisk.make(t, 262_144)
  if (!disk) return t.skip('needs the right to mount')
  const { directory } = disk
  const path = join(directory, 'store.db')
  openDatabase(path, schema).close()
  const damaged = join(directory, 'damaged.db')
  await writeFile(damaged, '')
  await assert.rejects(writeFile(join(directory, 'filler'), Buffer.alloc(300_000)))
  const full = { code: 'DATABASE_FAILED', reason: 'full', message: /the disk is full: free space/ }
  // The write-ahead log of an existing file finds no room either, which SQLite calls an I/O error.
  assert.throws(() => openDatabase(path, schema), full)
  assert.throws(() => openDatabase(join(directory, 'new.db'), schema), full)
  assert.throws(() => openOrSetAside(damaged, schema), full)
  assert.deepEqual(
    (await readdir(directory)).filter(name => /new/.test(name)),
    [],
  )
  await rm(join(directory, 'filler'))
  const { database, setAside } = openOrSetAside(damaged, schema)
  database.close()
  assert.ok(setAside)
  openDatabase(path, schema).close()
})

test('a file that may not be written is named', async t => {
  // Root may write whatever the permissions say.
  const disk = await SmallDisk.make(t, 1_048_576)
  const directory = disk?.directory ?? (await temporaryDirectory(t))
  const path = join(directory, 'store.db')
  openDatabase(path, schema).close()
  if (disk) disk.setReadOnly(true)
  else {
    await chmod(path, 0o400)
    await chmod(directory, 0o500)
  }
  try {
    for (const open of [openDatabase, openOrSetAside]) {
      for (const name of ['store.db', 'new.db']) {
        const expected = { code: 'DATABASE_FAILED', reason: 'read-only', message: /read-only: let this user write/ }
        assert.throws(() => open(join(directory, name), schema), expected)
      }
    }
  } finally {
    if (!disk) await chmod(directory, 0o700) // So that it can be removed.
  }
})

test('a file that is up to date opens without a write', async t => {
  const path = await store(t)
  const other = new DatabaseSync(path)
  t.after(() => other.close())
  other.exec('BEGIN IMMEDIATE')
  openDatabase(path, schema).close()
})

test('a new file is whole whenever its process is killed', async t => {
  const directory = await temporaryDirectory(t)
  for (let i = 0; i < 4; i++) {
    const path = join(directory, `${i}.db`)
    const program = startScript(t, 'test/runtime/fixtures/open-database.ts', [path])
    let left = i + 1
    const watcher = watch(directory, (_, name) => {
      if (name?.startsWith(`${i}.db`) && --left === 0) program.child.kill('SIGKILL')
    })
    await program.exited
    watcher.close()
    assert.notEqual((await stat(path).catch(() => undefined))?.size, 0)
    const database = openDatabase(path, openDatabaseSchema)
    assert.equal(database.prepare('PRAGMA quick_check').get()?.quick_check, 'ok')
    database.close()
  }
})

test('the write-ahead log of a deleted file is no part of the next', async t => {
  const path = await store(t)
  const database = openDatabase(path, schema)
  database.exec('DELETE FROM windows')
  await writeFile(`${path}.log`, await readFile(`${path}-wal`))
  database.close()
  await rm(path)
  await rename(`${path}.log`, `${path}-wal`)
  const fresh = openDatabase(path, schema)
  assert.equal(fresh.prepare('PRAGMA quick_check').get()?.quick_check, 'ok')
  assert.equal(count(fresh), 0)
  fresh.close()
})

test('permissions that are asked for hold for new files, old files and those beside them', async t => {
  const path = await store(t)
  await chmod(path, 0o644)
  for (const file of [path, `${path}.other`]) {
    const database = openDatabase(file, schema, { mode: 0o600 })
    database.exec('INSERT INTO windows DEFAULT VALUES')
    for (const suffix of ['', '-wal', '-shm']) assert.equal((await stat(`${file}${suffix}`)).mode & 0o777, 0o600)
    database.close()
  }
})

test('errors of SQLite and of the file system have one classification, whatever wraps them', () => {
  const sqlite = (errcode: number) => Object.assign(new Error('failed'), { code: 'ERR_SQLITE_ERROR', errcode })
  const system = (code: string) => Object.assign(new Error('failed'), { code })
  const expected = [
    [sqlite(13), 'full'],
    [sqlite(11), 'damaged'],
    [sqlite(11 | (1 << 8)), 'damaged'],
    [sqlite(26), 'damaged'],
    [sqlite(5), 'locked'],
    [sqlite(6 | (1 << 8)), 'locked'],
    [sqlite(8), 'read-only'],
    [sqlite(10 | (3 << 8)), 'io'],
    [sqlite(10 | (32 << 8)), 'damaged'],
    [sqlite(19), 'other'],
    [system('ENOSPC'), 'full'],
    [system('EDQUOT'), 'full'],
    [system('EROFS'), 'read-only'],
    [system('EACCES'), 'read-only'],
    [system('EIO'), 'io'],
    [system('ENOENT'), 'other'],
    [new Error('failed'), 'other'],
    ['failed', 'other'],
  ] as const
  for (const [thrown, reason] of expected) {
    assert.equal(databaseFailure(thrown), reason)
    assert.equal(databaseFailure(new Error('wrapped', { cause: thrown })), reason)
    assert.equal(databaseFailure(toDatabaseError(thrown, ':memory:')), reason)
  }
})
