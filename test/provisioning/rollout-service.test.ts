import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { identityOf, newId, type RolloutCommand, topicFilter } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { MqttSession, silentLogger } from '@faultline/runtime'
import { RolloutService } from '../../provisioning/rollouts/rollout-service.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { runCommand } from '../support/command.ts'
import { observe } from '../support/observer.ts'
import { type RunningProgram, startScript } from '../support/processes.ts'
import { fleetRegistry, ScriptedDevice } from '../support/rollouts.ts'
import { shiftedClock } from '../support/shifted-clock.ts'
import { tinyBundle } from '../support/updates.ts'

const names = ['a', 'b', 'c'].map(id => `devices/plant-a/${id}`)
const soon = () => AbortSignal.timeout(60_000)

/** A broker, a registry beside it, and devices that do what a test has them do. */
async function scene(t: TestContext) {
  const broker = await startAgentBroker(t)
  const fleet = await fleetRegistry(t, broker, names)
  const devices = names.map(name => new ScriptedDevice(broker, name))
  t.after(() => Promise.all(devices.map(({ session }) => session.stop())))
  for (const { session } of devices) {
    await session.start()
    await session.whenOnline(soon())
  }
  return { broker, ...fleet, devices, watcher: await observe(t, broker) }
}

test('a rollout that nothing watches goes on to its end, through a service that is killed and one whose clock has jumped', async t => {
  const { broker, registry, secret, provision, devices, watcher } = await scene(t)
  const { code } = await runCommand('provisioning/main.ts', ['init', '--registry', registry])
  assert.equal(code, 0)
  const access = ['--broker-url', broker.url, '--identity', 'operators/rollouts', '--secret-file', secret]
  const address = ['--host', '127.0.0.1', '--port', '0', '--name', '127.0.0.1']
  const serve = async (env: NodeJS.ProcessEnv = {}): Promise<RunningProgram> => {
    const service = startScript(
      t,
      'provisioning/main.ts',
      ['serve', '--registry', registry, ...address, ...access],
      env,
    )
    await service.said(/provisioning service listens/)
    return service
  }
  const bundle = await tinyBundle(t)
  const begin = ['start', '--bundle', bundle, '--canary', names[0]!, '--groups', '1,1']
  const unserved = await provision(...begin)
  assert.match(unserved.stderr, /ROLLOUTS_NOT_SERVED: .*provision -- serve .*--here/)
  assert.match((await provision('list')).stdout, /no rollouts/)

  const first = await serve()
  await first.said(/connected to the broker/)
  const { stdout } = await provision(...begin)
  const id = /^rollout (\S+): tiny-features 1\.0\.0 to 1 \+ 1 \+ 1 devices$/m.exec(stdout)![1]!
  const [a, b, c] = devices
  const [offer] = await a!.hears('update-offer')
  assert.ok(offer?.kind === 'update-offer' && offer.payload.id === id)
  const { digest } = offer.payload
  await watcher.seeOne('rollout', ({ groups }) => groups[0]?.offered === 1)

  await first.stop('SIGKILL')
  assert.match((await provision('pause', id)).stderr, /ROLLOUTS_NOT_SERVED/)
  // The broker says it for the process that cannot.
  await watcher.seeOne('rollout-service', ({ online }) => !online)
  await a!.runs(digest)
  await a!.status(id, 'done')

  const second = await serve(shiftedClock(7 * 86_400_000))
  await b!.hears('update-offer')
  assert.match((await provision('pause', id)).stdout, /paused/)
  await watcher.seeOne('rollout', ({ state }) => state === 'paused')
  await b!.runs(digest)
  await b!.status(id, 'done')
  await watcher.seeOne('rollout', ({ groups }) => groups[1]?.succeeded === 1)
  assert.equal(c!.heard.length, 0)
  assert.match((await provision('resume', id)).stdout, /resumed/)
  await c!.hears('update-offer')
  await c!.runs(digest)
  const watching = provision('watch', id)
  await c!.status(id, 'done')
  const { code: ended, stdout: shown } = await watching
  assert.equal(ended, 0)
  assert.match(shown, /state {4}done/)
  await watcher.seeOne('rollout', ({ state }) => state === 'done')
  assert.equal(await second.stop(), 0, second.output)

  const log = await runCommand('provisioning/main.ts', ['log', '--name', 'registry', '--registry', registry])
  for (const action of ['rolled-out', 'rollout-paused', 'rollout-resumed', 'rollout-ended'])
    assert.match(log.stdout, new RegExp(`${action} .*${id}`), log.stdout)
})

test('flows start, pause, resume and abort rollouts over the broker, and the log says who it was', async t => {
  const { broker, registry: path, provision, devices, watcher } = await scene(t)
  const bundle = await tinyBundle(t)
  assert.match((await provision('add', '--bundle', bundle)).stdout, /added tiny-features 1\.0\.0/)
  const registry = new Registry(path)
  await registry.start()
  const access = { url: broker.url, secret: broker.secret, backOff: { initialMs: 20, maximumMs: 50 } }
  const identity = identityOf('operator', 'rollouts')
  const service = new RolloutService({ registry, path, broker: access, identity, logger: silentLogger })
  const flows = new MqttSession({
    ...access,
    identity: identityOf('flows', 'main'),
    subscriptions: [topicFilter('rollout-result')],
    logger: silentLogger,
  })
  t.after(async () => {
    await flows.stop()
    await service.stop()
    await registry.stop()
  })
  await service.start()
  await flows.start()
  await flows.whenOnline(soon())
  const order = async (
    rollout: string,
    name: 'start' | 'pause' | 'resume' | 'abort',
    rest: object = {},
    id = newId(),
  ) => {
    const command: RolloutCommand = { id, by: 'anna', name, ...rest }
    await flows.publish({ kind: 'rollout-command', rollout }, command)
    const { ok, error } = await watcher.seeOne('rollout-result', result => result.id === id)
    return ok ? 'done' : error!.code
  }
  const state = await watcher.seeOne('rollout-service', ({ online }) => online)
  assert.ok(state.online)
  const [artifact] = state.artifacts
  assert.deepEqual([artifact?.name, artifact?.version], ['tiny-features', '1.0.0'])
  const start = { start: { artifact: artifact!.digest, site: 'plant-a', canaries: [names[1]!] } }

  assert.equal(await order('r-1', 'start'), 'ROLLOUT_INVALID')
  assert.equal(await order('r-1', 'start', { start: { artifact: `sha256:${'0'.repeat(64)}` } }), 'ROLLOUT_INVALID')
  assert.equal(await order('r-1', 'pause'), 'ROLLOUT_UNKNOWN')
  const once = newId()
  assert.equal(await order('r-1', 'start', start, once), 'done')
  await devices[1]!.hears('update-offer')
  assert.equal(await order('r-1', 'start', start, once), 'done')
  assert.equal(await order('r-2', 'start', start), 'ROLLOUT_INVALID')
  const running = await watcher.seeOne('rollout', ({ groups }) => groups[0]?.offered === 1)
  assert.deepEqual([running.state, running.by, running.groups[1]], ['running', 'anna over the broker', { waiting: 1 }])
  assert.equal(await order('r-1', 'pause'), 'done')
  assert.equal((await watcher.seeOne('rollout', said => said.state === 'paused')).reason, 'by anna over the broker')
  assert.equal(await order('r-1', 'pause'), 'ROLLOUT_INVALID')
  assert.equal(await order('r-1', 'resume'), 'done')
  assert.equal(await order('r-1', 'abort'), 'done')
  const ended = await watcher.seeOne('rollout', said => said.state === 'aborted')
  assert.equal(ended.reason, 'by anna over the broker')
  assert.equal(await order('r-1', 'resume'), 'ROLLOUT_INVALID')
  assert.deepEqual(
    registry
      .history({ name: 'registry' })
      .filter(({ action }) => action.startsWith('roll'))
      .map(({ action, actor }) => [action, /^anna over the broker$/.test(actor)]),
    [
      ['rolled-out', true],
      ['rollout-paused', true],
      ['rollout-resumed', true],
      ['rollout-aborted', true],
    ],
  )
})

test('a registry has one service of rollouts, and another takes its place when it ends', async t => {
  const { broker, registry: path } = await scene(t)
  const registry = new Registry(path)
  await registry.start()
  const options = {
    registry,
    path,
    broker: { url: broker.url, secret: broker.secret },
    identity: identityOf('operator', 'rollouts'),
    logger: silentLogger,
  }
  const [first, second] = [new RolloutService(options), new RolloutService(options)]
  t.after(async () => {
    await first.stop()
    await second.stop()
    await registry.stop()
  })
  await first.start()
  await assert.rejects(second.start(), { code: 'ROLLOUTS_SERVED' })
  await first.stop()
  await second.start()
})
