import assert from 'node:assert/strict'
import { cpSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { Broker } from '@faultline/broker'
import { identityOf } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { openOrSetAside, silentLogger } from '@faultline/runtime'
import { Archive } from '@faultline/server-agent'
import { SqliteStore } from '@faultline/telemetry'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { RolloutStore } from '../../provisioning/rollouts/store.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'

const store = (...files: string[]) => runCommand('fleet/store.ts', files)

/** Names and contents below a directory. Where a reader notes its lock counts as none; the broker counts its uptime. */
const contentsOf = (directory: string): unknown =>
  readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .filter(name => !name.startsWith('broker.db'))
    .sort()
    .map(name => join(directory, name))
    .map(path => [path, statSync(path).isFile() && !path.endsWith('-shm') ? readFileSync(path, 'base64') : ''])

test('the kind, the schema and the contents of every store are named, of those in use too', async t => {
  const directory = await temporaryDirectory(t)
  const path = (name: string) => join(directory, name)
  const registry = new Registry(path('registry.db'))
  await registry.start()
  t.after(() => registry.stop())
  await registry.enroll(identityOf('server', 's1'))
  const broker = new Broker({ host: '127.0.0.1', port: 0, registry, store: path('broker.db'), logger: silentLogger })
  await broker.start()
  t.after(() => broker.stop())
  const telemetry = new SqliteStore({ path: path('telemetry.db') })
  await telemetry.start()
  await telemetry.stop()
  const rollouts = new RolloutStore(path('rollouts.db'))
  await rollouts.start()
  await rollouts.stop()
  const agent = openStorage(directory)
  agent.exec("INSERT INTO messages (kind, topic, payload) VALUES ('summary', 'a', x'00')")
  t.after(() => agent.close())
  Archive.open({ directory: path('archive'), maxBytes: 1e9, maxAgeDays: 1, keep: 'windows', sites: {} }).close()
  await mkdir(path('spool'))
  await writeFile(join(path('spool'), '000000000001.ndjson'), '{"a":1}\n{"a":2}\n{"a"')
  const before = contentsOf(directory)
  const names = ['registry.db', 'broker.db', 'telemetry.db', 'rollouts.db', 'agent.db', 'archive', 'spool']
  const { code, stdout } = await store(...names.map(path))
  assert.equal(code, 0, stdout)
  const schema = String.raw`schema (\d+) \(this version reads up to \1\); \d+ bytes;`
  for (const [name, what] of [
    ['registry.db', `registry; ${schema} 1 identities; 0 revoked identities`],
    ['broker.db', `broker store; ${schema} 0 sessions; 0 queued messages; \\d+ retained messages`],
    ['telemetry.db', `telemetry store; ${schema} 0 series; 0 points`],
    ['rollouts.db', `rollouts; ${schema} 0 rollouts; 0 running rollouts`],
    ['agent.db', `device agent database; ${schema} 1 spooled messages; 0 command results`],
    ['archive/index.db', `index of an archive of hard windows; ${schema} 0 windows; 0 labels`],
    ['spool', 'spool of the recorder; 20 bytes; 2 waiting points; 1 damaged lines'],
  ] as const) {
    assert.match(stdout, new RegExp(`^ok {4} ${path(name)}: ${what}$`, 'm'))
  }
  assert.deepEqual(contentsOf(directory), before, 'nothing is written')
})

test('a damaged, an empty, an unknown and a newer store are faults, and one that was set aside is named', async t => {
  const directory = await temporaryDirectory(t)
  const path = (name: string) => join(directory, name)
  const whole = openStorage(directory)
  const insert = whole.prepare("INSERT INTO messages (kind, topic, payload) VALUES ('summary', ?, ?)")
  for (let i = 0; i < 100; i++) insert.run(`${i}`, Buffer.alloc(1_000))
  whole.close()
  const content = readFileSync(path('agent.db'))
  const page = content.lastIndexOf(Buffer.alloc(2_000)) & ~4095
  await writeFile(path('torn.db'), content.fill(0xff, page, page + 4_096))
  await writeFile(path('empty.db'), '')
  await writeFile(path('text.db'), 'not a database')
  cpSync(path('agent.db'), path('newer.db'))
  const newer = new DatabaseSync(path('newer.db'))
  newer.exec('PRAGMA user_version = 999')
  newer.close()
  await writeFile(path('aside.db'), '')
  openOrSetAside(path('aside.db'), []).database.close()
  const results = await Promise.all(
    ['torn.db', 'empty.db', 'text.db', 'newer.db', 'absent.db', 'aside.db', 'agent.db'].map(name => store(path(name))),
  )
  const [torn, empty, text, later, absent, aside, agent] = results.map(({ code, stdout }) => `${code} ${stdout}`)
  assert.match(torn!, /^1 FAULT {2}\S+torn\.db: device agent database; .*\n +damaged: /)
  assert.match(empty!, /^1 FAULT .*\n.*empty\.db: damaged: .*zero bytes/)
  assert.match(text!, /^1 FAULT .*\n.*text\.db: damaged: .*not a database/)
  assert.match(later!, /^1 FAULT .*schema 999 \(this version reads up to \d\).*\n +written by a newer version/)
  assert.match(absent!, /^1 FAULT .*\n.*absent\.db: .*no such file/)
  assert.match(aside!, /^0 ok .*set aside: \S+aside\.db\.damaged-/)
  assert.match(agent!, /^0 ok .*100 spooled messages/)
})

test('a store that no program uses is brought to an older schema and keeps what it holds', async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'telemetry.db')
  const telemetry = new SqliteStore({ path })
  await telemetry.start()
  const points = [
    { measurement: 'health', tags: { device: 'a' }, fields: { spool: 1 }, time: Date.now(), offset: 0 },
  ] as const
  await telemetry.write(points)
  const used = await store('--schema', '2', path)
  assert.deepEqual([used.code, /locked by another process/.test(used.stderr)], [1, true], used.stderr)
  await telemetry.stop()
  const lowered = await store('--schema', '2', path)
  assert.match(lowered.stdout, /^ok .*schema 2 /, lowered.stderr)
  const below = await store('--schema', '1', path)
  assert.match(below.stderr, /^error DATABASE_FAILED: .*cannot go below schema 2/)
  const before = new DatabaseSync(path, { readOnly: true })
  t.after(() => before.close())
  assert.deepEqual(
    before.prepare("SELECT name FROM sqlite_schema WHERE name = 'clock'").all(),
    [],
    'the older version has no such table',
  )
  assert.equal(before.prepare('SELECT count(*) AS count FROM points').get()!.count, 1)
  const again = new SqliteStore({ path })
  await again.start()
  await again.stop()
  assert.match((await store(path)).stdout, /1 points/)
})
