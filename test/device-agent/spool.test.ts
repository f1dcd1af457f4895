import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { FaultlineError, type TopicKind } from '@faultline/protocol'
import { Spool, type SpoolBounds } from '../../device-agent/spool/spool.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { startScript } from '../support/processes.ts'
import { openOnSmallDisk } from '../support/small-spool.ts'
import { temporaryDirectory } from '../support/temp.ts'

const topicOf = (kind: TopicKind, point = 'motor-de') => `faultline/v1/devices/plant-a/pi-1/points/${point}/${kind}`

async function openSpool(t: TestContext, bounds?: Partial<SpoolBounds>, clock?: () => number) {
  const directory = await temporaryDirectory(t)
  const database = openStorage(directory)
  t.after(() => database.isOpen && database.close())
  const spool = new Spool(database, bounds, clock)
  return { directory, database, spool, add: adding(spool) }
}

const adding =
  (spool: Spool) =>
  (text: string, kind: TopicKind = 'inference', worth: { notable?: boolean; value?: number } = {}): void =>
    spool.add({ kind, topic: topicOf(kind), payload: Buffer.from(text), ...worth })

const all = Number.MAX_SAFE_INTEGER
const reports = (spool: Spool, after = 0) => spool.reports(after, all, 1_000_000)
const texts = (spool: Spool, after = 0): string[] => reports(spool, after).map(({ payload }) => payload.toString())
/** Room for so many messages of one character. */
const roomFor = (count: number) => ({ bytes: count * (64 + topicOf('inference').length + 1) })
const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, i) => from + i)

test('reports come back in the order they were added, in pages', async t => {
  const { spool, add } = await openSpool(t)
  for (const text of ['a', 'b', 'c']) add(text)
  const [first, second] = spool.reports(0, all, 2)
  assert.deepEqual([first?.payload.toString(), second?.payload.toString()], ['a', 'b'])
  assert.deepEqual(texts(spool, second!.seq), ['c'])
  assert.deepEqual(
    spool.reports(first!.seq, second!.seq, 10).map(({ seq }) => seq),
    [second!.seq],
  )
  assert.equal(first?.topic, topicOf('inference'))
})

test('results, reports and escalations are three things, and the most valuable escalation comes first', async t => {
  const { spool, add } = await openSpool(t)
  add('low', 'escalation', { value: 0.2 })
  add('report')
  add('high', 'escalation', { value: 0.6 })
  add('result', 'command-result')
  assert.deepEqual(texts(spool), ['report'])
  assert.deepEqual(spool.results(10).map(text), ['result'])
  assert.deepEqual(spool.escalations(10).map(text), ['high', 'low'])
})

const text = ({ payload }: { payload: Buffer }): string => payload.toString()

test('an acknowledged message is gone at once, and from the disk with the next one', async t => {
  const { database, spool, add } = await openSpool(t)
  add('a')
  add('b')
  spool.acknowledge(reports(spool)[0]!.seq)
  assert.equal(spool.size, 1)
  assert.deepEqual(texts(spool), ['b'])
  add('c')
  const { rows } = database.prepare('SELECT count(*) AS rows FROM messages').get() as { rows: number }
  assert.equal(rows, 2)
})

test('a restart keeps what was not acknowledged', async t => {
  const { directory, database, spool, add } = await openSpool(t)
  for (const text of ['a', 'b', 'c']) add(text)
  spool.acknowledge(reports(spool)[0]!.seq)
  spool.flush()
  database.close()
  const again = openStorage(directory)
  t.after(() => again.close())
  const reopened = new Spool(again)
  assert.equal(reopened.size, 2)
  adding(reopened)('d')
  assert.deepEqual(texts(reopened), ['b', 'c', 'd'])
})

test('killed in the middle of its work, again and again, it has every message that was added', async t => {
  const directory = await temporaryDirectory(t)
  const added = new Set<string>()
  const acknowledged = new Set<string>()
  for (let round = 0; round < 2; round++) {
    const first = added.size + 1
    const writer = startScript(t, 'test/support/spool-writer.ts', [directory, String(first)])
    const last = first + 1 + Math.floor(Math.random() * 300)
    await writer.said(new RegExp(`\\+${last}\\n`))
    await writer.stop('SIGKILL')
    for (const [, sign, number] of writer.output.matchAll(/([+-])(\d+)\n/g)) {
      if (sign === '+') added.add(number!)
      else acknowledged.add(number!)
    }
    const database = openStorage(directory)
    const spool = new Spool(database)
    const kept = texts(spool)
    database.close()
    const lost = [...added].filter(number => !acknowledged.has(number) && !kept.includes(number))
    assert.deepEqual(lost, [], `round ${round}, killed after ${last}`)
    assert.equal(new Set(kept).size, kept.length, 'a message is there twice')
    // The one that was being added when the process died may be there without having been said.
    for (const number of kept) added.add(number)
  }
})

test('a full spool thins inferences out evenly, rather than forget the beginning', async t => {
  const { spool, add } = await openSpool(t, roomFor(100))
  for (const number of numbers(1_000)) add(String.fromCharCode(0x100 + number).slice(0, 1))
  const kept = texts(spool).map(text => text.charCodeAt(0) - 0x100)
  assert.ok(kept.length > 80 && spool.dropped === 1_000 - kept.length, `${kept.length} kept, ${spool.dropped} dropped`)
  for (let quarter = 0; quarter < 4; quarter++) {
    const here = kept.filter(number => Math.floor((number - 1) / 250) === quarter).length
    assert.ok(here >= kept.length / 8, `${here} of ${kept.length} in quarter ${quarter}`)
  }
})

test('what says something new outlives its repetitions', async t => {
  const { spool, add } = await openSpool(t, roomFor(20))
  for (const number of numbers(200)) add(number % 40 === 0 ? '!' : '.', 'inference', { notable: number % 40 === 0 })
  assert.equal(texts(spool).filter(text => text === '!').length, 5)
})

test('a full spool gives up escalations first, those of the least value, and results of commands never', async t => {
  const { spool, add } = await openSpool(t, { ...roomFor(10), escalationShare: 0.5 })
  for (const value of [0.3, 0.9, 0.1, 0.5, 0.7, 0.2]) add(String(value * 10).slice(0, 1), 'escalation', { value })
  const valuable = spool.escalations(10).map(text)
  assert.deepEqual(valuable, ['9', '7', '5', '3'].slice(0, valuable.length))
  for (const number of numbers(20)) add(String(number % 10), 'command-result')
  assert.equal(spool.results(100).length, 20)
  assert.deepEqual(spool.escalations(10), [])
  add('a')
  assert.deepEqual(texts(spool), [])
  assert.equal(spool.size, 20)
})

test('an old message is given up, and no clock that is set makes one old', async t => {
  let ran = 0
  const day = 86_400_000
  const { directory, database, spool, add } = await openSpool(t, { ageS: 86_400 }, () => ran)
  const realNow = Date.now
  t.after(() => {
    Date.now = realNow
  })
  add('first')
  add('result', 'command-result')
  // NTP at boot: from 1970 to today; and later an hour back.
  Date.now = () => 0
  add('second')
  Date.now = () => realNow() - 3_600_000
  ran += day / 2
  add('third')
  assert.deepEqual(texts(spool), ['first', 'second', 'third'])
  database.close()
  // A restart; its clock, too, begins at nothing.
  let ranAgain = 0
  const again = openStorage(directory)
  t.after(() => again.close())
  const reopened = new Spool(again, { ageS: 86_400 }, () => ranAgain)
  ranAgain += day / 2 + 120_000
  adding(reopened)('fourth')
  assert.deepEqual(texts(reopened), ['third', 'fourth'])
  assert.equal(reopened.results(10).length, 1)
  assert.equal(reopened.dropped, 2)
})

test('fifteen days offline: within its bytes, with windows of every day and every change among them', async t => {
  let ran = 0
  const bytes = 150_000
  const { database, spool } = await openSpool(t, { bytes }, () => ran)
  const hours = 15 * 24
  database.exec('PRAGMA synchronous = OFF')
  for (let hour = 0; hour < hours; hour++) {
    for (let i = 0; i < 4; i++) {
      ran += 900_000
      const payload = Buffer.from(JSON.stringify({ hour, filler: 'x'.repeat(100) }))
      spool.add({
        kind: 'inference',
        topic: topicOf('inference', `p${i}`),
        payload,
        notable: hour % 72 === 0 && i === 0,
      })
    }
    spool.add({ kind: 'summary', topic: topicOf('summary'), payload: Buffer.from(JSON.stringify({ hour })) })
  }
  const kept = reports(spool)
  const size = kept.reduce((sum, { topic, payload }) => sum + topic.length + payload.byteLength + 64, 0)
  assert.ok(size <= bytes && size > 0.9 * bytes, `${size} bytes`)
  const inferences = kept.filter(({ topic }) => topic.endsWith('inference'))
  const hoursKept = inferences.map(({ payload }) => (JSON.parse(payload.toString()) as { hour: number }).hour)
  for (let day = 0; day < 15; day++) {
    assert.ok(
      hoursKept.some(hour => Math.floor(hour / 24) === day),
      `nothing of day ${day}`,
    )
  }
  for (let hour = 0; hour < hours; hour += 72) assert.ok(hoursKept.includes(hour), `the change of hour ${hour}`)
  for (const point of ['p0', 'p1', 'p2', 'p3'])
    assert.ok(
      inferences.some(({ topic }) => topic.includes(`/${point}/`)),
      point,
    )
  assert.equal(kept.length - inferences.length, hours, 'summaries')
})

test('a message that the full spool gave up while it was under way is counted once', async t => {
  const { spool, add } = await openSpool(t, roomFor(3))
  for (const text of ['a', 'b', 'c']) add(text)
  const underWay = reports(spool)
  for (const text of ['d', 'e']) add(text)
  for (const { seq } of underWay) spool.acknowledge(seq)
  assert.equal(spool.size, texts(spool).length)
  add('f')
  assert.equal(spool.size, texts(spool).length)
})

test('a spool that empties while nothing new comes is shortened on disk too', async t => {
  const { database, spool, add } = await openSpool(t)
  for (let i = 0; i < 300; i++) add('a')
  for (const { seq } of spool.reports(0, all, 299)) spool.acknowledge(seq)
  const { rows } = database.prepare('SELECT count(*) AS rows FROM messages').get() as { rows: number }
  assert.ok(rows < 100, `${rows} of 300 would be sent again after a crash`)
  assert.equal(spool.size, 1)
})

test('a number is not given twice while the spool is open', async t => {
  const { spool, add } = await openSpool(t)
  add('a')
  const first = reports(spool)[0]!.seq
  spool.acknowledge(first)
  spool.flush()
  add('b')
  assert.deepEqual(texts(spool, first), ['b'])
})

test('a message that breaks the connection becomes suspect, then is set aside, over restarts too', async t => {
  const { directory, database, spool, add } = await openSpool(t, { tries: { shared: 2, all: 3 } })
  add('a')
  add('b')
  const { seq } = reports(spool)[0]!
  assert.equal(spool.tried(seq), false)
  assert.deepEqual(texts(spool), ['a', 'b'])
  assert.equal(spool.tried(seq), false)
  assert.deepEqual(texts(spool), ['b'])
  assert.deepEqual(spool.suspects(10).map(text), ['a'])
  database.close()
  const again = openStorage(directory)
  t.after(() => again.close())
  const reopened = new Spool(again, { tries: { shared: 2, all: 3 } })
  assert.equal(reopened.tried(seq), true)
  assert.deepEqual(reopened.suspects(10), [])
  assert.equal(reopened.setAside, 1)
  assert.equal(reopened.size, 2)
})

test('what an older version spooled is sent, the results of commands among it', async t => {
  const { directory, database } = await openSpool(t)
  database.exec('PRAGMA user_version = 2; DROP INDEX messages_by_worth; DROP INDEX messages_tried')
  for (const column of ['class', 'worth', 'at', 'tries']) database.exec(`ALTER TABLE messages DROP COLUMN ${column}`)
  database.exec('CREATE INDEX messages_by_kind ON messages (kind, seq)')
  const insert = database.prepare('INSERT INTO messages (seq, kind, topic, payload) VALUES (?, ?, ?, ?)')
  for (const [i, kind] of (['summary', 'command-result', 'inference'] as const).entries()) {
    insert.run(i + 1, kind, topicOf(kind), Buffer.from(kind))
  }
  database.close()
  const again = openStorage(directory)
  t.after(() => again.close())
  const reopened = new Spool(again)
  assert.deepEqual(texts(reopened), ['summary', 'inference'])
  assert.deepEqual(reopened.results(10).map(text), ['command-result'])
})

test('a full disk gives a coded error, loses nothing that was there, and room lets it go on', async t => {
  const { database, enlarge } = await openOnSmallDisk(t)
  const spool = new Spool(database)
  const payload = Buffer.alloc(4_096)
  const fill = () => {
    for (;;) spool.add({ kind: 'inference', topic: topicOf('inference'), payload })
  }
  assert.throws(fill, (error: unknown) => error instanceof FaultlineError && error.code === 'DATABASE_FAILED')
  const there = reports(spool)
  assert.ok(there.length > 20, `${there.length} messages`)
  assert.equal(spool.size, there.length)
  for (const { seq } of there.slice(0, 20)) spool.acknowledge(seq)
  assert.equal(reports(spool).length, there.length - 20)
  enlarge()
  spool.add({ kind: 'inference', topic: topicOf('inference'), payload: Buffer.from('after') })
  assert.equal(texts(spool).at(-1), 'after')
})

test('a database that fails gives a coded error and loses nothing that was counted', async t => {
  const { database, spool, add } = await openSpool(t)
  add('a')
  spool.acknowledge(reports(spool)[0]!.seq)
  database.close()
  assert.throws(
    () => add('b'),
    (error: unknown) => error instanceof FaultlineError && error.code === 'DATABASE_FAILED',
  )
  assert.equal(spool.size, 0)
})
