import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { mkdir, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync, StatementSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import type { DeviceAgentOptions } from '@faultline/device-agent'
import { Random } from '@faultline/inference'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, startDevice, type TestDevice } from '../support/edge.ts'
import { logFile } from '../support/log-file.ts'
import { type Observer, observe } from '../support/observer.ts'
import { SmallDisk } from '../support/small-disk.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample } from '../support/tiny-models.ts'

const diskRetryMs = { first: 50, max: 50 }

async function scene(t: TestContext, directory?: string) {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const { logger, lines } = await logFile(t)
  const dataDirectory = directory ?? join(await temporaryDirectory(t), 'data')
  const start = (options: Partial<DeviceAgentOptions> = {}) =>
    startDevice(t, broker, { dataDirectory, diskRetryMs, logger, healthIntervalS: 0.05, ...options })
  return { broker, watcher, dataDirectory, start, errors: () => lines().filter(({ level }) => level >= 50) }
}

/** A life that leaves a database with something in it, and the number of its start. */
async function firstLife({ start, watcher }: { start: () => Promise<TestDevice>; watcher: Observer }): Promise<number> {
  const edge = await start()
  await edge.online()
  await edge.infer(sample.normal, sample.fault)
  await edge.agent.stop()
  return (await watcher.seeOne('state', ({ online }) => online)).boot
}

async function watches(edge: TestDevice, watcher: Observer): Promise<void> {
  await edge.online()
  const before = watcher.of('inference').length
  await edge.infer(sample.normal, sample.fault)
  await watcher.see('inference', () => true, before + 2)
}

const problemsOf = (edge: TestDevice) => edge.agent.problems.map(({ message }) => message).join('\n')

const damages: Record<string, (path: string) => Promise<void>> = {
  'random bytes': path => writeFile(path, randomBytes(20_000)),
  'half a file': async path => truncate(path, Math.floor((await stat(path)).size / 8_192) * 4_096),
  'a hundred bytes': path => truncate(path, 100),
  'zero bytes': path => truncate(path, 0),
  'a page of random bytes': async path => {
    const content = await readFile(path)
    randomBytes(4_096).copy(content, 4_096)
    await writeFile(path, content)
  },
}

for (const [name, damage] of Object.entries(damages)) {
  test(`with ${name} for a database an agent starts, watches and says so, and the file is kept`, async t => {
    const place = await scene(t)
    const { watcher, dataDirectory, start } = place
    const boot = await firstLife(place)
    const path = join(dataDirectory, 'agent.db')
    await damage(path)
    const damaged = await readFile(path)
    const edge = await start()
    await watches(edge, watcher)
    const state = await watcher.seeOne('state', state => state.online && state.problems !== undefined)
    assert.ok(state.online)
    assert.match(state.problems![0]!.message, /agent\.db was damaged \(.+\) and is kept as .*agent\.db\.damaged-/)
    assert.ok(state.boot > boot, `start ${state.boot} after ${boot}`)
    await watcher.seeOne('health', ({ problems }) => problems?.[0]?.code === 'DATABASE_FAILED')
    const aside = (await readdir(dataDirectory)).find(entry => /^agent\.db\.damaged-[^.]*\.[^.]*$/.test(entry))
    assert.deepEqual(await readFile(join(dataDirectory, aside!)), damaged)
    await edge.agent.stop()
    const next = await start()
    assert.deepEqual(next.agent.problems, [])
    assert.equal((await next.infer(sample.normal)).length, 1)
  })
}

test('messages that were in a damaged file are counted as dropped, where they can be', async t => {
  const { broker, dataDirectory, start } = await scene(t)
  const wire = await broker.wire(t)
  wire.sever()
  const offline = await start({ broker: { url: wire.url, secret: wire.secret } })
  await offline.infer(sample.normal, sample.normal, sample.normal)
  await offline.agent.stop()
  const database = new DatabaseSync(join(dataDirectory, 'agent.db'))
  const { rootpage } = database
    .prepare(`SELECT rootpage FROM sqlite_schema WHERE name = 'messages_by_worth'`)
    .get() as { rootpage: number }
  database.close()
  const path = join(dataDirectory, 'agent.db')
  const content = await readFile(path)
  content.fill(0xff, (rootpage - 1) * 4_096, rootpage * 4_096)
  await writeFile(path, content)
  const edge = await start()
  assert.match(problemsOf(edge), /3 messages in it are lost/)
  assert.equal(edge.agent.health?.queues.dropped, 3)
})

type Obstacle = (dataDirectory: string, t: TestContext) => Promise<() => Promise<void>>

const obstacles: Record<string, Obstacle> = {
  'a directory that cannot be made': async directory => {
    await rm(directory, { recursive: true, force: true })
    await writeFile(directory, '')
    return () => rm(directory)
  },
  'a directory in the place of the file': async directory => {
    await rm(directory, { recursive: true, force: true })
    await mkdir(join(directory, 'agent.db'), { recursive: true })
    return () => rm(join(directory, 'agent.db'), { recursive: true })
  },
  'a database that another program has locked': async directory => {
    const other = new DatabaseSync(join(directory, 'agent.db'))
    other.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; CREATE TABLE other (x)')
    return async () => {
      other.exec('ROLLBACK')
      other.close()
    }
  },
}

for (const [name, obstruct] of Object.entries(obstacles)) {
  test(`with ${name} an agent starts, watches and says so, and takes the disk when it can`, async t => {
    const place = await scene(t)
    const { watcher, dataDirectory, start, errors } = place
    await firstLife(place)
    const clear = await obstruct(dataDirectory, t)
    const edge = await start()
    await watches(edge, watcher)
    const state = await watcher.seeOne('state', state => state.online && state.problems !== undefined)
    assert.ok(state.online)
    assert.match(state.problems![0]!.message, /agent\.db: /)
    assert.equal(errors().length, 1, JSON.stringify(errors()))
    const before = watcher.of('state').length
    await clear()
    for (let count = before + 1; ; count++) {
      const states = await watcher.see('state', () => true, count)
      const last = states.at(-1)!
      if (last.online && last.problems === undefined) break
    }
    await watches(edge, watcher)
    await edge.agent.stop()
    const files = await readdir(dataDirectory)
    assert.ok(files.includes('agent.db'), files.join())
  })
}

/** A disk of four megabytes in the place of a directory. Agents on it are stopped before the test ends. */
async function smallDisk(t: TestContext): Promise<{ disk: SmallDisk; dataDirectory: string }> {
  const disk = (await SmallDisk.make(t, 4 * 2 ** 20))!
  return { disk, dataDirectory: disk.directory }
}

const mayMount = process.getuid?.() === 0
const mounts = { skip: mayMount ? false : 'mounting a small disk takes root' }

test(
  'on a full disk an agent starts with what was kept, and the disk takes what waits when it has room',
  mounts,
  async t => {
    const { disk, dataDirectory } = await smallDisk(t)
    const place = await scene(t, dataDirectory)
    const { broker, watcher, start } = place
    const boot = await firstLife(place)
    disk.fill()
    const wire = await broker.wire(t)
    wire.sever()
    const edge = await start({
      broker: { url: wire.url, secret: wire.secret, backOff: { initialMs: 20, maximumMs: 50 } },
    })
    await edge.infer(sample.normal, sample.normal)
    assert.match(problemsOf(edge), /the disk is full: free space on it/)
    assert.equal(edge.agent.health?.queues.inMemory, 2)
    disk.resize(8 * 2 ** 20)
    await until(() => edge.agent.problems.length === 0)
    assert.equal(edge.agent.health?.queues.inMemory, undefined)
    assert.equal(edge.agent.health?.queues.spool, 2)
    await edge.agent.stop()
    const before = watcher.of('inference').length
    const next = await start()
    await next.online()
    await watcher.see('inference', () => true, before + 2)
    const state = await watcher.seeOne('state', state => state.online && state.boot > boot + 1)
    assert.equal(state.boot, boot + 2)
    await next.agent.stop()
  },
)

test('a disk that becomes full and has room again loses nothing and is said once', mounts, async t => {
  const { disk, dataDirectory } = await smallDisk(t)
  const { broker, watcher, start, errors } = await scene(t, dataDirectory)
  const wire = await broker.wire(t)
  const edge = await start({
    broker: { url: wire.url, secret: wire.secret, backOff: { initialMs: 20, maximumMs: 50 } },
  })
  await edge.online()
  wire.sever()
  await edge.offline()
  await edge.infer(sample.normal, sample.normal)
  disk.fill()
  for (let i = 0; i < 150; i++) await edge.infer(sample.normal)
  const { queues } = edge.agent.health!
  assert.ok(queues.inMemory! > 0)
  assert.equal(queues.spool, 152)
  assert.equal(queues.dropped, 0)
  // Commands, configuration and what policies learn are kept in memory, too; the backlog on the disk can still be sent.
  wire.mend()
  await edge.online()
  await watcher.see('inference', () => true, 152)
  await edge.configure(watcher, { price: 0.5 })
  await watcher.session.publish({ kind: 'command', site: 'plant-a', device }, { id: 'c-1', name: 'ping', args: {} })
  assert.equal((await watcher.seeOne('command-result')).ok, true)
  assert.equal(errors().length, 1, JSON.stringify(errors()))
  disk.resize(16 * 2 ** 20)
  await until(() => edge.agent.problems.length === 0)
  await edge.agent.stop()
  const next = await start()
  assert.equal(next.agent.configuration?.config.price, 0.5)
  await next.agent.stop()
})

test('a read-only disk: an agent starts with what was kept', mounts, async t => {
  const { disk, dataDirectory } = await smallDisk(t)
  const place = await scene(t, dataDirectory)
  const { watcher, start } = place
  await firstLife(place)
  disk.setReadOnly(true)
  const edge = await start()
  await watches(edge, watcher)
  assert.match(problemsOf(edge), /read-only: let this user write the file/)
  disk.setReadOnly(false)
  await until(() => edge.agent.problems.length === 0)
  await watches(edge, watcher)
  await edge.agent.stop()
})

const sqliteErrors = { SQLITE_BUSY: 5, SQLITE_IOERR: 10, SQLITE_CORRUPT: 11, SQLITE_FULL: 13 }

for (const [name, errcode] of Object.entries(sqliteErrors)) {
  test(`${name} at random calls ends no agent, no watching, and loses no message`, async t => {
    const { watcher, start, errors } = await scene(t)
    const edge = await start()
    await edge.online()
    const seed = Date.now() % 1_000
    t.diagnostic(`seed ${seed}`)
    const random = new Random(seed)
    let thrown = 0
    for (const method of ['run', 'get', 'all'] as const) {
      const original = StatementSync.prototype[method] as (...given: unknown[]) => unknown
      t.mock.method(StatementSync.prototype, method, function (this: StatementSync, ...given: unknown[]) {
        if (random.uniform() < 0.05) {
          thrown++
          throw Object.assign(new Error(name), { code: 'ERR_SQLITE_ERROR', errcode })
        }
        return original.apply(this, given)
      })
    }
    for (let i = 0; i < 100; i++) await edge.infer(sample.normal)
    await watcher.session.publish({ kind: 'command', site: 'plant-a', device }, { id: 'c-1', name: 'ping', args: {} })
    await watcher.session.publish(
      { kind: 'command', site: 'plant-a', device },
      { id: 'c-2', name: 'restart', args: {} },
    )
    for (let i = 0; i < 20; i++) await edge.infer(sample.normal)
    t.mock.restoreAll()
    assert.ok(thrown > 0)
    await until(() => edge.agent.online)
    await edge.infer(sample.fault)
    await watcher.seeOne('inference', ({ label }) => label === 'fault')
    t.diagnostic(`${thrown} calls threw, ${errors().length} lines`)
    assert.ok(edge.agent.health!.errors > 0)
  })
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!condition()) {
    assert.ok(performance.now() < deadline, `did not happen: ${condition}`)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
}
