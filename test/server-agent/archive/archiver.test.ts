import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { extractFeatures } from '@faultline/inference'
import { decodeWindow, identityOf, isRejected } from '@faultline/protocol'
import { createLogger, type Logger, MqttSession, silentLogger } from '@faultline/runtime'
import { Archiver } from '@faultline/server-agent'
import { ArchiveMetrics } from '../../../server-agent/archive/metrics.ts'
import { type BrokerAccess, startAgentBroker } from '../../support/agent-broker.ts'
import { device, point, site, startServer } from '../../support/edge.ts'
import { observe } from '../../support/observer.ts'
import { startScript } from '../../support/processes.ts'
import { temporaryDirectory } from '../../support/temp.ts'
import { tinyTask } from '../../support/tiny-models.ts'
import { FakeHost, queued } from '../fake-host.ts'
import { hardWindow, idsIn, openArchive, readArchive } from './windows.ts'

async function startArchiver(
  t: Pick<TestContext, 'after'>,
  directory: string,
  options: { sites?: Record<string, 'off'>; logger?: Logger; retryMs?: number } = {},
): Promise<Archiver> {
  const archiver = new Archiver({
    directory,
    maxBytes: 2 ** 24,
    maxAgeDays: 90,
    keep: 'windows',
    sites: {},
    logger: silentLogger,
    ...options,
  })
  t.after(() => archiver.stop())
  await archiver.start()
  return archiver
}

/** A device of a site that only escalates. */
async function startEscalator(t: Pick<TestContext, 'after'>, broker: BrokerAccess, ofSite: string) {
  const identity = identityOf('device', ofSite, device)
  const session = new MqttSession({ ...broker, url: broker.url, identity, subscriptions: [], logger: silentLogger })
  t.after(() => session.stop())
  await session.start()
  await session.whenOnline(AbortSignal.timeout(20_000))
  return async () => {
    const { escalation } = queued()
    await session.publish({ kind: 'escalation', site: ofSite, device, point }, { ...escalation, shaftHz: 25 })
    return escalation
  }
}

test('what was answered is archived with its features and what the shadow said, unless its site keeps nothing', async t => {
  const broker = await startAgentBroker(t)
  const directory = join(await temporaryDirectory(t), 'archive')
  const archiver = await startArchiver(t, directory, { sites: { 'plant-b': 'off' } })
  const host = new FakeHost()
  const shadow = host.addShadow(tinyTask)
  const agent = await startServer(t, broker, { host, archiver })
  const [here, elsewhere] = [await startEscalator(t, broker, site), await startEscalator(t, broker, 'plant-b')]

  const sent = await here()
  ;(await host.batches(1))[0]!.answer('fault')
  const shadowed = once(agent, 'shadow', { signal: AbortSignal.timeout(20_000) })
  ;(await host.batches(2))[1]!.answer('normal')
  await shadowed
  await elsewhere()
  ;(await host.batches(3))[2]!.answer('fault')
  await host.batches(4)
  await agent.stop()
  await archiver.stop()

  readArchive(directory, reader => {
    const [found, ...others] = [...reader.windows()]
    assert.deepEqual([found!.id, others.length], [sent.id, 0])
    assert.deepEqual(found!.shadow, { label: 'normal', confidence: 0.8, model: `${shadow.model.name}:2.0.0` })
    assert.deepEqual(found!.server.classes, ['normal', 'fault'])
    const { window, server, local, features, shaftHz, receivedAt } = reader.read(found!)!
    assert.deepEqual(window, sent.window)
    assert.deepEqual(local, sent.local)
    assert.deepEqual([server.label, server.agent, shaftHz], ['fault', 'server-1', 25])
    const { peak } = extractFeatures({ ...decodeWindow(sent.window), shaftHz: 25 })
    assert.ok(Math.abs(features.peak! - peak!) < 1e-5 && Number.isFinite(features.bpfo1))
    assert.ok(Math.abs(Date.now() - Date.parse(receivedAt)) < 60_000)
  })
  const text = await new ArchiveMetrics(archiver).registry.metrics()
  for (const series of ['windows 1', 'labelled_windows 0', 'written_total 1', 'dropped_total{reason="busy"} 0'])
    assert.ok(text.includes(`faultline_server_archive_${series}\n`), text)
})

test('a window that was answered by a model which is gone meanwhile is archived without the classes of another', async t => {
  const broker = await startAgentBroker(t)
  const directory = join(await temporaryDirectory(t), 'archive')
  const archiver = await startArchiver(t, directory)
  const host = new FakeHost()
  const agent = await startServer(t, broker, { host, archiver })
  const escalate = await startEscalator(t, broker, site)
  const sent = await escalate()
  const [batch] = await host.batches(1)
  const former = host.models.get(tinyTask)!
  const next = { ...former.model, version: '2.0.0', digest: `sha256:${'9'.repeat(64)}` }
  host.models.set(tinyTask, { ...former, model: next, classes: ['sound', 'worn'] })
  const answered = once(agent, 'verdict', { signal: AbortSignal.timeout(20_000) })
  batch!.answer('fault')
  await answered
  await agent.stop()
  await archiver.stop()
  readArchive(directory, reader => {
    const [found] = [...reader.windows()]
    assert.equal(found!.id, sent.id)
    assert.equal(found!.server.model, `${former.model.name}:${former.model.version}`)
    assert.equal(found!.server.classes, undefined)
  })
})

test('an archive that does not open, or has no room, costs windows and no verdict, is said once, and goes on', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const directory = join(await temporaryDirectory(t), 'archive')
  const other = openArchive(t, directory)
  const file = join(directory, 'server.log')
  const full = join(directory, 'segments', '00000001.seg')
  // Every write to it fails as on a disk without room.
  await symlink('/dev/full', full)
  const logger = createLogger('server-agent', { level: 'info', file })
  const archiver = await startArchiver(t, directory, { logger, retryMs: 500 })
  await startServer(t, broker, { archiver })
  const escalate = await startEscalator(t, broker, site)
  const dealtWith = () => archiver.written + archiver.dropped.failed
  const answered = async () => {
    const before = dealtWith()
    const { id } = await escalate()
    await watcher.seeOne('verdict', verdict => verdict.id === id && !isRejected(verdict))
    for (const until = Date.now() + 20_000; dealtWith() === before; ) await delay(5, assert.ok(Date.now() < until))
  }
  const said = async () => (await readFile(file, 'utf8')).trim().split('\n')
  await answered()
  assert.deepEqual([archiver.written, archiver.dropped], [0, { busy: 0, failed: 1 }])
  other.close()
  const until = Date.now() + 60_000
  for (; (await said()).length < 2; await answered()) assert.ok(Date.now() < until)
  await rm(full)
  for (; archiver.written === 0; await answered()) assert.ok(Date.now() < until)
  assert.deepEqual(
    (await said())
      .map(line => JSON.parse(line))
      .map(({ msg, error }) => [msg, /another process|ENOSPC/.exec(error)?.[0]]),
    [
      ['no windows are archived', 'another process'],
      ['no windows are archived', 'ENOSPC'],
      ['windows are archived again', undefined],
    ],
  )
  assert.equal(archiver.counts.windows, 1)

  // Nothing is heard of the thread until this turn of the event loop ends: as if it were held up.
  const model = { name: 'tiny', version: '1.0.0', digest: `sha256:${'2'.repeat(64)}` }
  for (let i = 0; i < 1_030; i++) {
    const item = queued()
    const { id } = item.escalation
    const answer = { label: 'fault', confidence: 0.9, probabilities: [0.1, 0.9] }
    archiver.offer(item, { id, ...answer, model, agent: 'server-1', queueMs: 0, inferMs: 1 })
    archiver.add({ id, ...item.replyTo, role: 'shadow', model, ...answer })
    archiver.add({ id, ...item.replyTo, role: 'upstream', model, ...answer })
  }
  assert.equal(archiver.dropped.busy, 6, 'it takes no more than its share of memory')
  await archiver.stop()
  readArchive(directory, reader => {
    const windows = [...reader.windows()]
    assert.equal(windows.length, 1 + 1_024)
    assert.equal(windows.flatMap(({ shadow, upstream }) => [shadow ?? [], upstream ?? []].flat()).length, 1_024)
  })
})

test('what was archived before a kill -9 is there after it, once', async t => {
  const directory = await temporaryDirectory(t)
  const writer = startScript(t, 'test/support/archive-writer.ts', [directory, '1'])
  await writer.said(/\+60\n/, 120_000)
  await writer.stop('SIGKILL')
  const said = Number([...writer.output.matchAll(/\+(\d+)\n/g)].at(-1)![1])
  const { archive } = openArchive(t, directory)
  const ids = idsIn(directory)
  assert.deepEqual(
    ids,
    Array.from({ length: ids.length }, (_, i) => String(i + 1)),
  )
  // The batch that was being written may be there, or a part of it.
  assert.ok(ids.length >= said && ids.length <= said + 3, `${ids.length} of ${said}`)
  readArchive(directory, reader => {
    for (const window of reader.windows()) assert.equal(reader.read(window)?.id, window.id)
  })
  archive.add([hardWindow()])
})
