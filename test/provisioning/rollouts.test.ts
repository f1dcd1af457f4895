import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type FaultlineError, identityOf } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { archivePath, packBundle, signPackage, takePackage } from '../../provisioning/rollouts/artifact.ts'
import { amountOf, groupsOf } from '../../provisioning/rollouts/plan.ts'
import { RolloutRunner } from '../../provisioning/rollouts/runner.ts'
import { type Rollout, RolloutStore, type Terms } from '../../provisioning/rollouts/store.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { observe } from '../support/observer.ts'
import { startScript } from '../support/processes.ts'
import { fleetRegistry, ScriptedDevice } from '../support/rollouts.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { maker, terms as probation, tinyBundle } from '../support/updates.ts'

const names = ['a', 'b', 'c', 'd'].map(id => `devices/plant-a/${id}`)
const terms: Terms = { probation, maxFailures: { count: 0 }, advanceAt: 100, lostAfterMs: 3_600_000 }
const soon = () => AbortSignal.timeout(20_000)

/** A rollout that begins, and the first so many of its devices. */
async function scene(
  t: TestContext,
  present: number,
  {
    changes = {},
    groups = [[names[0]!], names.slice(1)],
    clock,
  }: { changes?: Partial<Terms>; groups?: string[][]; clock?: () => number } = {},
) {
  const broker = await startAgentBroker(t)
  const artifacts = await temporaryDirectory(t)
  const artifact = await packBundle(await tinyBundle(t), artifacts)
  const path = join(await temporaryDirectory(t), 'rollouts.db')
  const store = new RolloutStore(path)
  await store.start()
  const id = 'r-1'
  store.create(id, artifact, { ...terms, ...changes }, groups)
  const identity = identityOf('operator', 'anna')
  const access = { url: broker.url, secret: broker.secret, backOff: { initialMs: 20, maximumMs: 50 } }
  const runners: RolloutRunner[] = []
  const run = async () => {
    const runner = new RolloutRunner({
      id,
      store,
      artifacts,
      broker: access,
      identity,
      logger: silentLogger,
      ...(clock && { clock }),
    })
    runners.push(runner)
    await runner.start()
    await runner.whenOnline(soon())
    return runner
  }
  const voices = names.slice(0, present).map(name => new ScriptedDevice(broker, name))
  t.after(async () => {
    for (const runner of runners) await runner.stop()
    for (const { session } of voices) await session.stop()
    await store.stop()
  })
  await Promise.all(
    voices.map(async ({ session }) => {
      await session.start()
      await session.whenOnline(soon())
    }),
  )
  const stateOf = (name: string) => store.devices(id).find(device => device.name === name)!
  return { broker, artifacts, artifact, store, path, id, run, voices, stateOf }
}

/** The first change after which a device is in this state. */
async function until(runner: RolloutRunner, name: string, state: string): Promise<void> {
  const signal = soon()
  while (runner.list.find(device => device.name === name)?.state !== state) await once(runner, 'device', { signal })
}

const ended = async (runner: RolloutRunner): Promise<Rollout> => (await once(runner, 'ended', { signal: soon() }))[0]

test('the canary goes first, and counts once it says that it is done and that it runs the digest', async t => {
  const { broker, run, voices, artifact, id, store } = await scene(t, 4)
  const runner = await run()
  const [canary, ...others] = voices
  await canary!.hears('update-offer')
  await canary!.status(id, 'done')
  await until(runner, names[0]!, 'done')
  await canary!.runs(`sha256:${'9'.repeat(64)}`)
  assert.ok(others.every(({ heard }) => heard.length === 0))
  // Shortened, as messages have it.
  await canary!.runs(artifact.digest.slice(0, 23))
  for (const voice of others) await voice.hears('update-offer')
  const end = ended(runner)
  for (const voice of others) {
    await voice.runs(artifact.digest)
    await voice.status(id, 'done')
  }
  assert.equal((await end).state, 'done')
  // What was offered stands until the end, so that whoever listens sees whom the rollout is for; then nothing is left.
  await runner.stop()
  const late = await observe(t, broker)
  for (const kind of ['state', 'update-status'] as const) await late.see(kind, () => true, 4)
  assert.deepEqual(late.of('update-offer'), [])
  assert.ok(store.devices(id).every(({ state }) => state === 'succeeded'))
})

test('a rollout stops when more devices fail than may, and withdraws what is not on a device yet', async t => {
  const { run, voices, id, stateOf } = await scene(t, 3, { groups: [names] })
  const runner = await run()
  await voices[2]!.hears('update-offer')
  await voices[1]!.status(id, 'downloading')
  await voices[2]!.status(id, 'probation')
  await until(runner, names[2]!, 'probation')
  const end = ended(runner)
  await voices[0]!.status(id, 'rolled-back', { code: 'UPDATE_PROBATION_FAILED', message: 'servers contradict' })
  assert.deepEqual((({ state, reason }) => ({ state, reason }))(await end), {
    state: 'aborted',
    reason: '1 devices failed, at most 0 may',
  })
  assert.deepEqual(
    names.map(name => stateOf(name).state),
    ['rolled-back', 'withdrawn', 'probation', 'withdrawn'],
  )
  assert.equal(stateOf(names[0]!).detail, 'UPDATE_PROBATION_FAILED: servers contradict')
})

test('a share of failures counts within a group, and the next group begins when enough have succeeded', async t => {
  const changes = { maxFailures: { percent: 50 }, advanceAt: 50 }
  const { run, voices, artifact, id } = await scene(t, 4, { changes, groups: [names.slice(0, 2), names.slice(2)] })
  const runner = await run()
  await voices[0]!.hears('update-offer')
  await voices[0]!.status(id, 'failed', { code: 'UPDATE_INCOMPATIBLE', message: 'no' })
  await until(runner, names[0]!, 'failed')
  assert.equal(voices[2]!.heard.length, 0)
  await voices[1]!.runs(artifact.digest)
  await voices[1]!.status(id, 'done')
  await voices[2]!.hears('update-offer')
  await voices[2]!.status(id, 'failed', { code: 'UPDATE_INCOMPATIBLE', message: 'no' })
  await until(runner, names[2]!, 'failed')
  const end = ended(runner)
  await voices[3]!.status(id, 'failed', { code: 'UPDATE_INCOMPATIBLE', message: 'no' })
  assert.match((await end).reason!, /2 of 2 devices of group 2 failed, at most 50 % may/)
})

test('a device that says nothing is lost after a while, and counts as failed', async t => {
  const { run, stateOf } = await scene(t, 0, { changes: { lostAfterMs: 1 } })
  const { state } = await ended(await run())
  assert.equal(state, 'aborted')
  assert.deepEqual([stateOf(names[0]!).state, stateOf(names[0]!).detail], ['lost', 'was offered'])
  assert.equal(stateOf(names[1]!).state, 'withdrawn')
})

test('a device is lost by the time it took, whatever a wall clock says that jumps', async t => {
  let time = 0
  let looks = 0
  const clock = () => {
    looks++
    return time
  }
  const { run, voices, id, stateOf } = await scene(t, 1, { groups: [[names[0]!]], clock })
  const runner = await run()
  await voices[0]!.hears('update-offer')
  t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 365 * 86_400_000 })
  await voices[0]!.status(id, 'downloading')
  await until(runner, names[0]!, 'downloading')
  for (const before = looks; looks < before + 2; ) await delay(20)
  assert.equal(stateOf(names[0]!).state, 'downloading')
  time += terms.lostAfterMs - 1
  for (const before = looks; looks < before + 2; ) await delay(20)
  await runner.stop()
  // What a process counted is known to the next.
  const next = await run()
  for (const before = looks; looks < before + 2; ) await delay(20)
  assert.equal(stateOf(names[0]!).state, 'downloading')
  time += 2
  assert.equal((await ended(next)).state, 'aborted')
  assert.deepEqual([stateOf(names[0]!).state, stateOf(names[0]!).detail], ['lost', 'was downloading'])
})

test('a rollout that is paused offers nothing to devices that have not begun, and goes on when it is resumed', async t => {
  const groups = [[names[0]!, names[2]!], [names[1]!]]
  const { broker, run, voices, artifact, id, store, stateOf } = await scene(t, 3, { groups })
  const [here, next, away] = voices
  await here!.runs(`sha256:${'9'.repeat(64)}`)
  await away!.leaves()
  const runner = await run()
  await here!.hears('update-offer')
  await away!.hears('update-offer')
  const turned = once(runner, 'turned', { signal: soon() })
  assert.ok(store.turn(id, 'running', 'paused'))
  await turned
  await until(runner, names[2]!, 'waiting')
  const late = await observe(t, broker)
  await late.seeOne('update-offer')
  assert.deepEqual(
    late.of('update-offer').map(({ address }) => address.device),
    ['a'],
  )
  // What has begun goes on to its end.
  await here!.runs(artifact.digest)
  await here!.status(id, 'done')
  await until(runner, names[0]!, 'succeeded')
  assert.equal(stateOf(names[2]!).state, 'waiting')
  assert.ok(store.turn(id, 'paused', 'running'))
  await away!.hears('update-offer', 2)
  assert.equal(next!.heard.length, 0)
  const end = ended(runner)
  for (const voice of [away!, next!]) {
    await voice.hears('update-offer')
    await voice.runs(artifact.digest)
    await voice.status(id, 'done')
  }
  assert.equal((await end).state, 'done')
})

test('a rollout that ended in the store alone withdraws its offers with the next process', async t => {
  const { broker, run, voices, id, store, stateOf } = await scene(t, 1, { groups: [[names[0]!]] })
  const first = await run()
  await voices[0]!.hears('update-offer')
  await first.stop()
  assert.ok(store.end(id, 'aborted', 'by anna'))
  assert.deepEqual(store.unfinished(), [id])
  const second = await run()
  if (store.unfinished().length > 0) await once(second, 'cleared', { signal: soon() })
  assert.deepEqual(store.unfinished(), [])
  assert.equal(stateOf(names[0]!).state, 'withdrawn')
  const late = await observe(t, broker)
  await voices[0]!.runs('sha256:0123456789ab')
  await late.seeOne('state')
  assert.deepEqual(late.of('update-offer'), [])
})

test('a lost device that speaks again counts once it is done, and not before', async t => {
  const changes = { maxFailures: { count: 1 } }
  const { run, voices, artifact, id, store, stateOf } = await scene(t, 2, {
    changes,
    groups: [[names[0]!], [names[1]!]],
  })
  store.note(id, names[0]!, 'lost', 'was offered')
  const runner = await run()
  const [lost, other] = voices
  await other!.hears('update-offer')
  await lost!.status(id, 'downloading')
  // The broker has acknowledged the one before it takes the other, and passes them on in that order.
  await other!.status(id, 'probation')
  await until(runner, names[1]!, 'probation')
  assert.deepEqual([stateOf(names[0]!).state, stateOf(names[0]!).detail], ['lost', 'was offered'])
  await lost!.runs(artifact.digest)
  await lost!.status(id, 'done')
  await until(runner, names[0]!, 'succeeded')
})

test('a rollout whose store fails for a while waits, and goes on with what devices reported meanwhile', async t => {
  const { broker, run, voices, artifact, id, path } = await scene(t, 1, { groups: [[names[0]!]] })
  const runner = await run()
  const [canary] = voices
  await canary!.hears('update-offer')
  const other = new DatabaseSync(path)
  t.after(() => other.close())
  other.exec('ALTER TABLE rollout_devices RENAME TO away')
  const waiting = once(runner, 'waiting', { signal: soon() })
  const listener = await observe(t, broker)
  await canary!.runs(artifact.digest)
  await canary!.status(id, 'done')
  await listener.see('update-status', () => true, 1)
  await waiting
  other.exec('ALTER TABLE away RENAME TO rollout_devices')
  assert.equal((await ended(runner)).state, 'done')
})

test('a rollout whose process ended is taken up by another, which knows what was reported meanwhile', async t => {
  const { run, voices, artifact, id, stateOf } = await scene(t, 2)
  const first = await run()
  await voices[0]!.hears('update-offer')
  await first.stop()
  await voices[0]!.runs(artifact.digest)
  await voices[0]!.status(id, 'done')
  assert.equal(stateOf(names[0]!).state, 'offered')
  const second = await run()
  await until(second, names[0]!, 'succeeded')
  await voices[1]!.hears('update-offer')
})

test('chunks are served as they are asked for, to the end of the archive', async t => {
  const { run, voices, artifact, artifacts, id } = await scene(t, 1)
  await run()
  await voices[0]!.hears('update-offer')
  const archive = await readFile(archivePath(artifacts, artifact.archive.sha256))
  await voices[0]!.ask(id, artifact.archive.sha256, 100, archive.byteLength)
  const [chunk] = await voices[0]!.hears('update-chunk')
  assert.ok(chunk?.kind === 'update-chunk')
  assert.equal(chunk.payload.offset, 100)
  assert.deepEqual(Buffer.from(chunk.payload.bytes), archive.subarray(100))
})

test('another rollout for the same devices has to wait for the end of the first', async t => {
  const { store, artifact } = await scene(t, 0)
  assert.throws(
    () => store.create('r-2', artifact, terms, [[names[3]!]]),
    (error: FaultlineError) => error.code === 'ROLLOUT_INVALID' && /r-1/.test(error.message),
  )
  assert.ok(store.end('r-1', 'aborted'))
  store.create('r-2', artifact, terms, [[names[3]!]])
})

test('groups are counts and shares, the canaries first and the rest last, the same every time', () => {
  const fleet = Array.from({ length: 20 }, (_, i) => `devices/plant-a/d-${String(i).padStart(2, '0')}`)
  const sizes = (groups: string[][]) => groups.map(({ length }) => length)
  const steps = [amountOf('1')!, amountOf('10%')!]
  assert.deepEqual(sizes(groupsOf(fleet, steps, [])), [1, 2, 17])
  const canaries = [fleet[7]!, fleet[3]!]
  const groups = groupsOf(fleet.toReversed(), steps, canaries)
  assert.deepEqual(groups[0], [fleet[3], fleet[7]])
  assert.deepEqual(sizes(groups), [2, 2, 16])
  assert.equal(new Set(groups.flat()).size, 20)
  assert.deepEqual(sizes(groupsOf(fleet.slice(0, 1), steps, [])), [1])
  assert.throws(() => groupsOf([], steps, []), /no device/)
  assert.throws(() => groupsOf(fleet, steps, ['devices/plant-a/x']), /none of the devices/)
  for (const text of ['', '-1', '101%', '1.5', 'x']) assert.equal(amountOf(text), undefined, text)
})

test('what no device would take is not packed: unsigned, changed, or for servers', async t => {
  const directory = await temporaryDirectory(t)
  const refused = async (bundle: string) =>
    packBundle(bundle, directory).then(
      () => assert.fail('packed'),
      (error: FaultlineError) => `${error.code}: ${error.message}`,
    )
  const changed = await tinyBundle(t)
  const network = join(changed, 'network.onnx')
  await writeFile(network, Buffer.concat([await readFile(network), Buffer.of(0)]))
  assert.match(await refused(changed), /ROLLOUT_INVALID: .*not the file/)
  const described = await tinyBundle(t)
  const text = await readFile(join(described, 'bundle.json'), 'utf8')
  await writeFile(join(described, 'bundle.json'), `${text} `)
  assert.match(await refused(described), /not the signature/)
  assert.match(await refused('models/bearing-local'), /is not signed.*npm run models/)
  const server = await tinyBundle(t, description => Object.assign(description, { role: 'server' }))
  assert.match(await refused(server), /server model/)
  const bundle = await tinyBundle(t)
  assert.deepEqual(await packBundle(bundle, directory), await packBundle(bundle, directory))
})

test('an agent package is rolled out with the signature that packing it left beside it', async t => {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'agent.tar.gz')
  await writeFile(file, 'as if it were a package')
  await assert.rejects(takePackage(file, directory), { code: 'ROLLOUT_INVALID' })
  await signPackage(file, { version: '2.0.0', architecture: 'arm64' }, maker.privateKey)
  const artifact = await takePackage(file, directory)
  assert.deepEqual(
    [artifact.kind, artifact.version, artifact.digest, artifact.signature.publicKey],
    ['agent', '2.0.0', artifact.archive.sha256, maker.publicKey],
  )
  assert.equal(await readFile(archivePath(directory, artifact.digest), 'utf8'), 'as if it were a package')
  await writeFile(file, 'another package')
  await assert.rejects(takePackage(file, directory), /not the signature of this package/)
})

test('a rollout in the terminal, without a service: begun, listed, shown, aborted by another command', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const { registry: file, secret, provision } = await fleetRegistry(t, broker, names)
  const access = ['--here', '--identity', 'operators/anna', '--broker-url', broker.url, '--secret-file', secret]
  const bundle = await tinyBundle(t)
  const wrong = join(await temporaryDirectory(t), 'wrong')
  await writeFile(wrong, 'not the secret')
  const refused = await provision('start', '--bundle', bundle, ...access.with(-1, wrong))
  assert.match(refused.stderr, /CREDENTIALS_REFUSED/)
  const here = startScript(t, 'provisioning/main.ts', [
    'rollout',
    'start',
    '--bundle',
    bundle,
    ...access,
    '--canary',
    names[2]!,
    '--registry',
    file,
  ])
  const { id, name } = await watcher.seeOne('update-offer')
  assert.equal(name, 'tiny-features')
  await here.said(new RegExp(`rollout ${id}: tiny-features 1.0.0 to 1 \\+ 1 \\+ 2 devices`))
  assert.deepEqual(
    watcher.of('update-offer').map(({ address }) => address.device),
    ['c'],
  )
  assert.match((await provision('abort', id, ...access)).stderr, /ROLLOUTS_SERVED/)
  assert.match((await provision('abort', id)).stdout, /aborted r?/)
  assert.equal(await here.exited, 1)
  assert.match(here.output, /state {4}aborted: by an operator/)
  assert.match(
    (await provision('list')).stdout,
    new RegExp(`${id} +bundle tiny-features 1.0.0 +aborted .* 4 withdrawn`),
  )
  assert.match((await provision('show', id)).stdout, /group {2}devices\n1 +1 +1 withdrawn/)
  assert.match((await provision('resume', id, ...access)).stderr, /ROLLOUT_INVALID: .*is over: aborted/)
  assert.match((await provision('show', 'r-0')).stderr, /ROLLOUT_UNKNOWN/)
})
