import assert from 'node:assert/strict'
import { appendFileSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { frameOf } from '../../../server-agent/archive/frames.ts'
import { encodeHardWindow } from '../../../server-agent/archive/hard-window.ts'
import { withCode } from '../../inference/bundles.ts'
import { temporaryDirectory } from '../../support/temp.ts'
import { hardWindow, idsIn, openArchive, readArchive, windowsOf } from './windows.ts'

const idsOf = (windows: readonly { id: string }[]) => windows.map(({ id }) => id)
const segmentsIn = (directory: string) =>
  readdirSync(join(directory, 'segments')).map(name => join(directory, 'segments', name))

/** A wall clock that can be set, and one that cannot. */
function calendar(begin: string) {
  let wall = Date.parse(begin)
  let monotonic = 0
  return {
    time: { wall: () => wall, monotonic: () => monotonic },
    later(days: number): string {
      wall += days * 86_400_000
      monotonic += days * 86_400_000
      return new Date(wall).toISOString()
    },
    set(to: string): void {
      wall = Date.parse(to)
    },
  }
}

test('a window comes back as it was given: samples, both answers, features and what other models said', async t => {
  const directory = await temporaryDirectory(t)
  const { archive } = openArchive(t, directory)
  const window = hardWindow({ alarm: true, bearing: { bpfo: 3.05, bpfi: 4.95, bsf: 1.99, ftf: 0.38 } })
  assert.equal(archive.add([window, hardWindow(), window]), 2, 'MQTT delivers some twice')
  const { id, site, device, point } = window
  const model = { name: 'bearing-server', version: '2.0.0', digest: `sha256:${'3'.repeat(64)}` }
  archive.addAnswers([
    { id, site, device, point, role: 'shadow', model, label: 'outer-race', confidence: 0.7 },
    { id, site, device, point, role: 'upstream', model, label: 'ball', confidence: 0.8 },
  ])
  readArchive(directory, reader => {
    const [found] = reader.find(id)
    assert.deepEqual(reader.read(found!), window)
    const { local, server, shadow, upstream, human, features, kept, machine } = found!
    assert.deepEqual([machine, kept, human, features], ['press-3', 'windows', undefined, window.features])
    assert.deepEqual([local.label, local.confidence], ['normal', 0.6])
    assert.deepEqual([server.label, server.model], ['inner-race', 'bearing-server:1.0.0'])
    assert.deepEqual(shadow, { label: 'outer-race', confidence: 0.7, model: 'bearing-server:2.0.0' })
    assert.equal(upstream?.label, 'ball')
  })
  const { windows, labelled, bytes } = archive.counts()
  assert.deepEqual([windows, labelled], [2, 0])
  assert.ok(bytes > 2 * 4_096)
})

test('what a crash left unindexed is found, and what it left half written is cut off', async t => {
  const directory = await temporaryDirectory(t)
  const before = windowsOf(2)
  const { archive, close } = openArchive(t, directory)
  archive.add(before)
  close()
  const [segment] = segmentsIn(directory)
  const unindexed = hardWindow()
  const torn = frameOf(encodeHardWindow(hardWindow()))
  appendFileSync(segment!, frameOf(encodeHardWindow(unindexed)))
  const whole = statSync(segment!).size
  appendFileSync(segment!, torn.subarray(0, torn.byteLength - 100))
  const after = hardWindow()
  const again = openArchive(t, directory)
  assert.equal(statSync(segment!).size, whole)
  again.archive.add([after])
  assert.deepEqual(idsIn(directory), idsOf([...before, unindexed, after]))
  readArchive(directory, reader => assert.deepEqual(reader.read(reader.find(after.id)[0]!), after))
  again.close()

  // A power cut may take what the index has: the frames that are left are whole.
  truncateSync(segment!, whole + 10)
  openArchive(t, directory).close()
  assert.deepEqual(idsIn(directory), idsOf([...before, unindexed]))
  assert.equal(statSync(segment!).size, whole)

  // The index can be made anew.
  for (const name of readdirSync(directory)) if (name.startsWith('index.db')) rmSync(join(directory, name))
  openArchive(t, directory).close()
  assert.deepEqual(idsIn(directory), idsOf([...before, unindexed]))
})

test('a frame that was damaged is read as none, and the others are read', async t => {
  const directory = await temporaryDirectory(t)
  const windows = windowsOf(3)
  openArchive(t, directory).archive.add(windows)
  const [segment] = segmentsIn(directory)
  const bytes = await readFile(segment!)
  const [, second] = readArchive(directory, reader => [...reader.windows()])
  bytes[second!.offset + 2_000]! ^= 1
  await writeFile(segment!, bytes)
  const read = readArchive(directory, reader => [...reader.windows()].map(window => reader.read(window)?.id))
  assert.deepEqual(read, [windows[0]!.id, undefined, windows[2]!.id])
})

test('it keeps within its bytes: the oldest windows go, those with a label last', async t => {
  const directory = await temporaryDirectory(t)
  const maxBytes = 2 ** 20
  const { archive } = openArchive(t, directory, { maxBytes })
  const labelled = windowsOf(3)
  archive.add(labelled)
  readArchive(directory, reader => {
    const rows = labelled.map(({ id }) => reader.find(id)[0]!)
    reader.label(rows.map(({ seq }) => ({ seq, label: 'ball', by: 'ada', at: '2026-03-02T08:00:00.000Z' })))
  })
  const rest = windowsOf(400)
  for (let i = 0; i < rest.length; i += 20) {
    archive.add(rest.slice(i, i + 20))
    archive.sweep()
    assert.ok(archive.counts().bytes <= maxBytes)
  }
  const kept = idsIn(directory)
  assert.deepEqual(kept.slice(0, 3), idsOf(labelled))
  assert.deepEqual(kept.slice(3), idsOf(rest).slice(-(kept.length - 3)))
  assert.ok(kept.length > 80, `${kept.length} windows of 5 kB are left in a mebibyte`)
  assert.deepEqual(archive.counts().windows, kept.length)
  readArchive(directory, reader => {
    for (const window of labelled) {
      const [row] = reader.find(window.id)
      assert.equal(row!.human?.label, 'ball')
      assert.deepEqual(reader.read(row!), window)
    }
  })
})

test('it keeps nothing longer than it may, but what a person has labelled', async t => {
  const directory = await temporaryDirectory(t)
  const { time, later } = calendar('2026-03-01T08:00:00.000Z')
  const { archive } = openArchive(t, directory, { maxAgeDays: 32, time })
  const [old, found] = windowsOf(2, { receivedAt: later(0) })
  archive.add([old!, found!])
  readArchive(directory, reader => {
    reader.label([{ seq: reader.find(found!.id)[0]!.seq, label: 'ball', by: 'ada', at: later(0) }])
  })
  const middle = hardWindow({ receivedAt: later(20) })
  archive.sweep()
  archive.add([middle])
  later(13)
  archive.sweep()
  assert.deepEqual(idsIn(directory), idsOf([found!, middle]))
})

test('a wall clock that is set ahead, or was wrong when windows came, costs none of them', async t => {
  const directory = await temporaryDirectory(t)
  const { time, later, set } = calendar('2026-03-01T08:00:00.000Z')
  const bounds = { maxAgeDays: 32, time }
  const first = openArchive(t, directory, bounds)
  const [before] = windowsOf(1, { receivedAt: later(0) })
  first.archive.add([before!])
  set('1970-01-01T00:00:00.000Z')
  const [past] = windowsOf(1, { receivedAt: later(1) })
  first.archive.add([past!])
  first.archive.sweep()
  set('2031-01-01T00:00:00.000Z')
  first.archive.sweep()
  first.close()

  // A restart does not make the wrong clock right.
  const { archive } = openArchive(t, directory, bounds)
  archive.sweep()
  assert.deepEqual(idsIn(directory), idsOf([before!, past!]))
  set('2026-03-02T08:00:00.000Z')
  later(33)
  archive.sweep()
  assert.deepEqual(idsIn(directory), [])
})

test('a site says what is kept of it, also of what is there already', async t => {
  const directory = await temporaryDirectory(t)
  const first = openArchive(t, directory)
  const of = (site: string) => hardWindow({ site })
  const [a, b, c] = [of('plant-a'), of('plant-b'), of('plant-c')]
  first.archive.add([a, b, c])
  first.close()
  const text = async () => (await Promise.all(segmentsIn(directory).map(file => readFile(file)))).map(String).join()
  assert.ok((await text()).includes(b.id))

  const sites = { 'plant-b': 'off', 'plant-c': 'features' } as const
  const { archive } = openArchive(t, directory, { sites })
  const [a2, b2, c2] = [of('plant-a'), of('plant-b'), of('plant-c')]
  archive.add([a2, b2, c2])
  assert.deepEqual(idsIn(directory), idsOf([a, c, a2, c2]))
  assert.ok(!(await text()).includes(b.id), 'nothing is left of it on the disk')
  readArchive(directory, reader => {
    const read = (window: { id: string }) => reader.read(reader.find(window.id)[0]!)
    assert.deepEqual([read(a), read(a2)], [a, a2])
    for (const window of [c, c2]) {
      const { window: _, ...rest } = window
      assert.deepEqual(read(window), rest)
      assert.deepEqual(reader.find(window.id)[0]!.kept, 'features')
    }
  })
})

test('a directory has one writer', async t => {
  const directory = await temporaryDirectory(t)
  const first = openArchive(t, directory)
  assert.throws(() => openArchive(t, directory), withCode('ARCHIVE_FAILED', /another process writes/))
  first.close()
  openArchive(t, directory)
})
