import assert from 'node:assert/strict'
import { test } from 'node:test'
import { deviceAgentConfig, UntrainedModel } from '@faultline/device-agent'
import { Random } from '@faultline/inference'
import type { Inference } from '@faultline/protocol'
import { startAgentBroker } from '../support/agent-broker.ts'
import { device, point, site, startDevice, startServer, type TestDevice } from '../support/edge.ts'
import { observe } from '../support/observer.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample, tinyLocalModel, tinyTask } from '../support/tiny-models.ts'

/** The pace of the tests' source is a window a second. */
const commissioning = { minutes: 1 }
const alone = { classifier: new UntrainedModel(tinyTask), deadlineMs: 60 }

/** The tiny model, with the normal class that commissioning asks for. */
const withNormal = { ...tinyLocalModel, bundle: { description: { normal: 'normal', calibration: {} } } }

const random = new Random(1)
/** A sound machine: the level scatters by a few per cent. */
const sound = () => 0.05 * (1 + 0.03 * random.normal())
const learn = (edge: TestDevice, windows = 60) => edge.infer(...Array.from({ length: windows }, sound))

const bare = ({ label, decidedBy, outcome, reason, local }: Inference) => ({
  label,
  decidedBy,
  outcome,
  reason,
  by: local.model.name,
})

test('without a model, a point learns its machine, says nothing of it meanwhile, and judges it then', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, alone, { commissioning })
  await edge.online()
  for (const inference of await learn(edge)) {
    assert.deepEqual([inference.label, inference.confidence, inference.reason], ['unknown', null, 'learning'])
  }
  const state = await watcher.seeOne(
    'state',
    state => state.online && state.points[0]?.commissioning?.phase === 'ready',
  )
  assert.ok(state.online)
  assert.deepEqual(state.models, [])
  const { limits, digest, wanted, confidence } = state.points[0]!.commissioning!
  assert.equal(wanted, 60)
  assert.ok(limits.meanAbs!.limit > limits.meanAbs!.centre)

  const [normal, fault] = await edge.infer(sound(), sample.fault)
  assert.deepEqual(bare(normal!), {
    label: 'normal',
    decidedBy: 'local',
    outcome: 'accepted',
    reason: 'within-limit',
    by: 'commissioning',
  })
  assert.equal(normal!.confidence, confidence)
  assert.ok(digest!.startsWith(normal!.local.model.digest))
  // Nobody is there to name it.
  assert.deepEqual(bare(fault!), {
    label: 'not-normal',
    decidedBy: 'local-fallback',
    outcome: 'late',
    reason: 'above-limit',
    by: 'commissioning',
  })
  assert.ok(fault!.numbers!.value! > fault!.numbers!.limit!)
})

test('what is above the limit is named by a server, which is asked by task', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const edge = await startDevice(t, broker, { ...alone, deadlineMs: 5_000 }, { commissioning })
  await edge.online()
  await learn(edge)
  const [inference] = await edge.infer(sample.fault)
  assert.deepEqual([inference!.label, inference!.decidedBy, inference!.reason], ['fault', 'server', 'above-limit'])
})

test('beside a model: within the limit is normal whatever the model says; above, only a fault it names is taken', async t => {
  const broker = await startAgentBroker(t)
  const policy = { name: 'never', parameters: {} }
  const edge = await startDevice(
    t,
    broker,
    { policy, deadlineMs: 60, classifier: withNormal },
    { commissioning: { ...commissioning, statistics: ['peak'] } },
  )
  await edge.online()
  await learn(edge)
  const [quiet, named, denied, broken] = await edge.infer(0.05, sample.fault, 0.2, sample.nan)
  assert.deepEqual([quiet!.label, quiet!.reason, quiet!.local.model.name], ['normal', 'within-limit', 'commissioning'])
  assert.deepEqual([named!.label, named!.decidedBy, named!.local.model.name], ['fault', 'local', 'tiny-local'])
  // The model takes it for normal; the limit does not, so it is not accepted.
  assert.deepEqual(bare(denied!), { ...bare(broken!), label: 'not-normal', reason: 'above-limit' })
})

test('windows within the limit are audited like any that are accepted', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const edge = await startDevice(t, broker, { ...alone, deadlineMs: 5_000, auditRate: 1 }, { commissioning })
  await edge.online()
  assert.ok((await learn(edge)).every(({ outcome }) => outcome === 'accepted'))
  const [inference] = await edge.infer(sound())
  assert.deepEqual([inference!.reason, inference!.decidedBy, inference!.label], ['audit', 'server', 'normal'])
  assert.equal(edge.agent.health!.audits, 1)
})

test('what was learned outlives a restart, and is forgotten on command', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const dataDirectory = await temporaryDirectory(t)
  const start = () => startDevice(t, broker, { ...alone, dataDirectory }, { commissioning })
  const first = await start()
  await first.online()
  await learn(first, 40)
  await first.agent.stop()
  const second = await start()
  await second.online()
  await learn(second, 20)
  const [before] = await second.infer(sound())
  assert.equal(before!.label, 'normal')
  await second.agent.stop()
  const third = await start()
  await third.online()
  const [after] = await third.infer(sound())
  assert.deepEqual(after!.local, before!.local)

  const to = { kind: 'command', site, device } as const
  await watcher.session.publish(to, { id: 'wrong', name: 'recalibrate', args: { point: 'elsewhere' } })
  assert.equal((await watcher.seeOne('command-result')).error?.code, 'COMMAND_INVALID')
  await watcher.session.publish(to, { id: 'right', name: 'recalibrate', args: { point } })
  const { ok, result } = await watcher.seeOne('command-result', ({ id }) => id === 'right')
  assert.ok(ok)
  const { forgotten, commissioning: now } = result as Record<string, { phase: string; windows: number }>
  assert.deepEqual([forgotten!.phase, forgotten!.windows, now!.phase, now!.windows], ['ready', 60, 'learning', 0])
  assert.equal((await third.infer(sound()))[0]!.reason, 'learning')
})

test('a window that is none is not learned from', async t => {
  const broker = await startAgentBroker(t)
  const watcher = await observe(t, broker)
  const edge = await startDevice(t, broker, alone, { commissioning })
  await edge.online()
  edge.source.give(Number.NaN)
  const faulty = await watcher.seeOne('health', ({ points }) => points !== undefined)
  assert.deepEqual([faulty.points![0]!.fault, faulty.points![0]!.windows], ['not-finite', 1])
  const [next] = await edge.infer(sound())
  assert.deepEqual(next!.numbers, { windows: 1, wanted: 60 })
  const state = await watcher.seeOne('state')
  assert.ok(state.online && state.points[0]?.commissioning?.phase === 'learning')
})

test('a model that knows no normal class cannot be commissioned beside', async t => {
  const broker = await startAgentBroker(t)
  const classifier = { ...tinyLocalModel, bundle: { description: { calibration: {} } } }
  await assert.rejects(startDevice(t, broker, { classifier }, { commissioning }), { code: 'CONFIG_INVALID' })
})

test('a configuration does without a model where every point is commissioned', () => {
  const config = (more: object) => ({
    site,
    device,
    broker: { url: 'mqtt://127.0.0.1:1', secret: 'x' },
    points: [{ point, machine: 'press-3', source: { kind: 'simulated' }, ...more }],
  })
  const { points, window, task } = deviceAgentConfig.parse(config({ commissioning: {} }))
  assert.deepEqual(points[0]!.commissioning, {
    minutes: 10,
    statistics: ['meanAbs'],
    targetRate: 1e-4,
    confidence: 0.95,
  })
  assert.deepEqual([window, task], [{ samples: 2_048, rateHz: 12_000 }, 'bearing-fault'])
  assert.match(deviceAgentConfig.safeParse(config({})).error!.issues[0]!.message, /every point has commissioning/)
})
