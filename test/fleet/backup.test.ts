import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { type TestContext, test } from 'node:test'
import { gunzipSync, gzipSync } from 'node:zlib'
import { identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { openDatabase } from '@faultline/runtime'
import { pack } from 'tar-stream'
import { backUp } from '../../fleet/backup/backup.ts'
import type { Manifest } from '../../fleet/backup/manifest.ts'
import { restore } from '../../fleet/backup/restore.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'

const press = identityOf('device', 'plant-a', 'press-3')

/** A registry that is open, a database that another connection writes, a key, and what a backup leaves out. */
async function site(t: TestContext) {
  const parent = await temporaryDirectory(t)
  const directory = join(parent, 'site')
  await mkdir(join(directory, 'node-red', 'faultline-nodes'), { recursive: true })
  const registry = new Registry(join(directory, 'registry.db'))
  await registry.start()
  t.after(() => registry.stop())
  await registry.enroll(press)
  const store = openDatabase(join(directory, 'node-red', 'sessions.db'), ['CREATE TABLE a (b TEXT) STRICT'])
  t.after(() => store.close())
  store.exec("INSERT INTO a VALUES ('committed')")
  await writeFile(join(directory, 'ca.key'), 'a key', { mode: 0o600 })
  await writeFile(join(directory, 'fleet.log'), 'what happened')
  await writeFile(join(directory, 'node-red', 'faultline-nodes', 'faultline.js'), 'made anew')
  return {
    parent,
    directory,
    store,
    roots: [{ name: 'site', path: directory }],
    output: join(parent, 'out', 'site.backup'),
  }
}

async function restored(t: TestContext, file: string, passphrase?: string): Promise<string> {
  const directory = join(await temporaryDirectory(t), 'restored')
  await restore({ file, directory, ...(passphrase !== undefined && { passphrase }) })
  return directory
}

test('a backup of running programs has what was committed, with its rights, and restores to an empty directory', async t => {
  const { store, roots, output } = await site(t)
  store.exec('BEGIN IMMEDIATE')
  store.exec("INSERT INTO a VALUES ('under way')")
  await backUp({ roots, output })
  store.exec('COMMIT')
  assert.equal((await stat(output)).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(join(output, '..')), ['site.backup'])
  const directory = await restored(t, output)
  assert.deepEqual((await readdir(directory, { recursive: true })).sort(), [
    'ca.key',
    'node-red',
    'node-red/sessions.db',
    'registry.db',
  ])
  assert.equal((await stat(join(directory, 'ca.key'))).mode & 0o777, 0o600)
  const registry = new Registry(join(directory, 'registry.db'))
  await registry.start()
  t.after(() => registry.stop())
  assert.deepEqual(
    registry.list().map(({ name }) => name),
    [press.name],
  )
  const copy = openDatabase(join(directory, 'node-red', 'sessions.db'), ['CREATE TABLE a (b TEXT) STRICT'])
  t.after(() => copy.close())
  assert.deepEqual(
    copy
      .prepare('SELECT b FROM a')
      .all()
      .map(row => row.b),
    ['committed'],
  )
})

test('an encrypted backup can be read with its passphrase alone', async t => {
  const { roots, output } = await site(t)
  await backUp({ roots, output, passphrase: 'correct horse' })
  const bytes = await readFile(output)
  assert.match(bytes.toString('latin1'), /^age-encryption\.org\/v1\n/)
  assert.ok(!bytes.includes('ca.key'))
  assert.equal(await readFile(join(await restored(t, output, 'correct horse'), 'ca.key'), 'utf8'), 'a key')
  for (const passphrase of ['wrong', undefined])
    await assert.rejects(restored(t, output, passphrase), { code: 'BACKUP_INVALID', message: /passphrase/ })
})

test('nothing that is there is overwritten, by a backup or a restore', async t => {
  const { directory, roots, output } = await site(t)
  await backUp({ roots, output })
  await assert.rejects(backUp({ roots, output }), { code: 'OUTPUT_UNWRITABLE', message: /is there already/ })
  await assert.rejects(restore({ file: output }), { code: 'RESTORE_REFUSED' })
  await assert.rejects(restore({ file: output, directory }), { code: 'RESTORE_REFUSED' })
  assert.equal(await readFile(join(directory, 'ca.key'), 'utf8'), 'a key')
})

test('without a directory everything goes back to where it was', async t => {
  const { directory, roots, output } = await site(t)
  await chmod(join(directory, 'ca.key'), 0o640)
  await backUp({ roots, output })
  await rm(directory, { recursive: true })
  const { places } = await restore({ file: output })
  assert.deepEqual(places, roots)
  assert.equal((await stat(join(directory, 'ca.key'))).mode & 0o777, 0o640)
})

async function tarOf(entries: Record<string, string>, manifest: object | string): Promise<Buffer> {
  const tar = pack()
  tar.entry({ name: 'manifest.json' }, typeof manifest === 'string' ? manifest : JSON.stringify(manifest))
  for (const [name, text] of Object.entries(entries)) tar.entry({ name }, text)
  tar.finalize()
  return gzipSync(await buffer(tar))
}

function manifestOf(files: Record<string, string>): Manifest {
  return {
    format: 1,
    version: '1.0.0',
    at: '2026-03-02T08:00:00.000Z',
    roots: [{ name: 'site', path: '/nowhere' }],
    files: Object.entries(files).map(([path, text]) => ({
      path,
      bytes: text.length,
      mode: 0o600,
      sha256: createHash('sha256').update(text).digest('hex'),
    })),
  }
}

test('a damaged backup, or one that leads out of its directory, is refused and leaves nothing', async t => {
  const good = { 'site/a': 'one', 'site/b': 'two' }
  const whole = await tarOf(good, manifestOf(good))
  const flipped = gunzipSync(whole)
  flipped[flipped.indexOf('two')] = 'T'.charCodeAt(0)
  const files: Record<string, Buffer> = {
    'not an archive': Buffer.from('hello'),
    empty: Buffer.alloc(0),
    'cut short': whole.subarray(0, whole.length - 30),
    'a changed byte': gzipSync(flipped),
    'a missing file': await tarOf({ 'site/a': 'one' }, manifestOf(good)),
    'a file too many': await tarOf({ ...good, 'site/c': 'three' }, manifestOf(good)),
    'a way out': await tarOf({ 'site/../../out': 'x' }, manifestOf({ 'site/../../out': 'x' })),
    'another root': await tarOf({ 'other/a': 'x' }, manifestOf({ 'other/a': 'x' })),
    'a later format': await tarOf(good, { ...manifestOf(good), format: 2 }),
    'no manifest': await tarOf(good, 'none'),
  }
  for (const [what, bytes] of Object.entries(files)) {
    const parent = await temporaryDirectory(t)
    const file = join(parent, 'file')
    await writeFile(file, bytes)
    const directory = join(parent, 'restored')
    await assert.rejects(restore({ file, directory }), { code: 'BACKUP_INVALID' }, what)
    const left = await readdir(directory, { recursive: true, withFileTypes: true }).catch(() => [])
    assert.deepEqual(
      left.filter(entry => entry.isFile()),
      [],
      what,
    )
  }
  const parent = await temporaryDirectory(t)
  await writeFile(join(parent, 'file'), whole)
  await restore({ file: join(parent, 'file'), directory: join(parent, 'restored') })
  assert.equal(await readFile(join(parent, 'restored', 'b'), 'utf8'), 'two')
})

test('a database that cannot be read fails a backup, which leaves no file', async t => {
  const { directory, roots, output } = await site(t)
  await writeFile(
    join(directory, 'broken.db'),
    Buffer.concat([Buffer.from('SQLite format 3\0'), Buffer.alloc(5_000, 7)]),
  )
  await assert.rejects(backUp({ roots, output }), { code: 'DATABASE_FAILED', message: /broken\.db/ })
  assert.deepEqual(await readdir(join(output, '..')), [])
})

test('the commands back up what configuration files name, and say where it is restored to', async t => {
  const { parent, directory, output } = await site(t)
  const config = join(parent, 'broker.yaml')
  await writeFile(
    config,
    `version: 1\nregistry: ${join(directory, 'registry.db')}\nstore: ${join(directory, 'broker.db')}\nport: 0\n`,
  )
  const done = await runCommand('fleet/faultline.ts', ['backup', output, '--config', config])
  assert.equal(done.code, 0, done.stderr)
  assert.match(done.stdout, /3 files/)
  const target = join(parent, 'elsewhere')
  const back = await runCommand('fleet/faultline.ts', ['restore', output, '--directory', target])
  assert.equal(back.code, 0, back.stderr)
  assert.match(back.stdout, /broker\/registry: .*elsewhere/)
  const found = await readdir(target, { recursive: true })
  for (const path of ['broker/registry', 'authority/ca.key', 'config/broker.yaml'])
    assert.ok(found.includes(path), path)
  const again = await runCommand('fleet/faultline.ts', ['restore', output, '--directory', target])
  assert.equal(again.code, 2)
  assert.match(again.stderr, /^error RESTORE_REFUSED: /)
})
