import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { classificationOf, type PreparedInput } from '@faultline/inference'
import { type AnsweredVerdict, isRejected, type Verdict } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { SecondOpinions } from '../../server-agent/second-opinions.ts'
import { type BrokerAccess, startAgentBroker, type Wire } from '../support/agent-broker.ts'
import { device, startDevice, startServer } from '../support/edge.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { observe } from '../support/observer.ts'
import { missing } from '../support/programs.ts'
import { sample, TinyServerModel, tinyTask } from '../support/tiny-models.ts'
import { FakeHost, queued } from './fake-host.ts'

const threshold = { policy: { name: 'threshold', parameters: { threshold: 0.9 } }, price: 0.2 }

/** The model of a site: it takes a fault it is not sure of for normal. */
class SiteModel extends TinyServerModel {
  override readonly model = { name: 'tiny-site', version: '1.0.0', digest: `sha256:${'3'.repeat(64)}` }

  override async classifyPrepared(inputs: readonly PreparedInput[]) {
    const sure = await super.classifyPrepared(inputs)
    return inputs.map(({ values }, i) =>
      Math.abs(values[0]! - sample.doubtful) < 0.01
        ? { classification: classificationOf(this.classes, [0.6, 0.4]) }
        : sure[i]!,
    )
  }
}

const siteModels = () => new Map([[tinyTask, new SiteModel()]])

type StartSite = (t: TestContext, wire: Wire) => Promise<BrokerAccess>

const overOurs: StartSite = (t, { url, secret }) =>
  startAgentBroker(t, { bridge: { site: 'plant-a', url, secret, maxMessages: 100, maxBytes: 1_000_000 } })

/** The lines of docs/guides/scale.md, with a secret in place of a certificate. */
const overMosquitto: StartSite = (t, { url, secret }) =>
  startMosquitto(t, [
    'connection above',
    `address ${new URL(url).host}`,
    'remote_clientid sites/plant-a',
    'remote_username sites/plant-a',
    `remote_password ${secret}`,
    'topic devices/plant-a/+/points/+/escalation out 1 faultline/v1/upstream/ faultline/v1/',
    'topic devices/plant-a/+/points/+/verdict in 1 faultline/v1/upstream/ faultline/v1/',
    'bridge_protocol_version mqttv311',
    'try_private false',
    'notifications false',
    'restart_timeout 1',
  ])

/** A site whose server agent asks the cloud's, and the wire between their brokers. */
async function startTiers(t: TestContext, startSite = overOurs) {
  const cloud = await startAgentBroker(t)
  const above = await startServer(t, cloud, { server: 'cloud-1' })
  const wire = await cloud.wire(t)
  const site = await startSite(t, wire)
  const archived: string[] = []
  const archiver = {
    offer: (_: unknown, { label }: AnsweredVerdict) => void archived.push(label),
    add: ({ role, label }: { role: string; label: string }) => void archived.push(`${role}: ${label}`),
  }
  const agent = await startServer(t, site, { classifiers: siteModels(), secondOpinion: threshold, archiver })
  return { cloud, above, wire, site, agent, archived }
}

const always = { policy: { name: 'always', parameters: {} } }
const answered = (verdict: Verdict): verdict is AnsweredVerdict => !isRejected(verdict)

test('what a server agent is not sure of is answered by one above it, and the rest by itself', async t => {
  const { cloud, site, agent, archived } = await startTiers(t)
  const [below, top] = [await observe(t, site), await observe(t, cloud)]
  const press = await startDevice(t, site, always)
  await press.online()
  const [sure, unsure] = await press.infer(sample.fault, sample.doubtful)
  assert.equal(sure!.server?.agent, 'server-1')
  assert.equal(unsure!.server?.agent, 'cloud-1')
  assert.equal(unsure!.server?.model.name, 'tiny-server')
  assert.equal(unsure!.label, 'fault')
  assert.equal(unsure!.outcome, 'answered')
  // One id from the device to the cloud and back; above, the answer in doubt is that of the site's model.
  assert.deepEqual(
    top.of('escalation').map(({ address, payload }) => [address.device, payload.id, payload.local.label]),
    [[device, unsure!.id, 'normal']],
  )
  const [first, further] = [await below.seeOne('escalation', ({ id }) => id === unsure!.id), top.of('escalation')[0]!]
  const patience = ({ at, deadline }: { at: string; deadline: string }) => Date.parse(deadline) - Date.parse(at)
  assert.ok(patience(further.payload) < 0.9 * patience(first), 'the deadline is less by what is used and kept')
  assert.equal(below.of('verdict').length, 2, 'one verdict each')
  const { asked, confirmed, changed } = agent.secondOpinions!.counts
  assert.deepEqual({ asked, confirmed, changed }, { asked: 1, confirmed: 0, changed: 1 })
  assert.deepEqual(archived, ['fault', 'normal', 'upstream: fault'])
})

test('without anybody above the answer of the site stands, in time', async t => {
  const { above, site, agent } = await startTiers(t)
  await above.stop()
  const press = await startDevice(t, site, { ...always, deadlineMs: 8_000 })
  await press.online()
  const [unanswered] = await press.infer(sample.doubtful)
  assert.equal(unanswered!.outcome, 'answered')
  assert.equal(unanswered!.server?.agent, 'server-1')
  assert.equal(unanswered!.server?.label, 'normal')
  assert.equal(agent.secondOpinions!.counts.late, 1)
})

test('a rejection from above is the end of it, and nothing is asked while it says so', async t => {
  const cloud = await startAgentBroker(t)
  await startServer(t, cloud, { server: 'cloud-1', classifiers: new Map() }) // It has no model of the task.
  const site = await overOurs(t, await cloud.wire(t))
  const agent = await startServer(t, site, { classifiers: siteModels(), secondOpinion: threshold })
  const press = await startDevice(t, site, always)
  await press.online()
  const [inference] = await press.infer(sample.doubtful)
  assert.equal(inference!.server?.agent, 'server-1')
  assert.equal(agent.secondOpinions!.counts.rejected, 1)
})

for (const [name, startSite] of Object.entries({
  "our broker's bridge": overOurs,
  "Mosquitto's bridge": overMosquitto,
})) {
  const skip = name.startsWith('Mosquitto') && missing('mosquitto')
  test(`with the link over ${name} cut under load, each escalation has one verdict, and the cloud's again later`, {
    skip,
  }, async t => {
    const { wire, site, agent } = await startTiers(t, startSite)
    const below = await observe(t, site)
    const press = await startDevice(t, site, { ...always, deadlineMs: 3_000 })
    await press.online()
    let given = 0
    const load = setInterval(() => {
      press.source.give(sample.doubtful)
      given++
    }, 20)
    t.after(() => clearInterval(load))
    const by = (agent: string) => (verdict: Verdict) => answered(verdict) && verdict.agent === agent
    const seen = (agent: string) => below.of('verdict').filter(({ payload }) => by(agent)(payload)).length
    await below.see('verdict', by('cloud-1'), 10)
    wire.sever()
    await below.see('verdict', by('server-1'), seen('server-1') + 20)
    // What was on its way when the link was cut has arrived long ago.
    const before = seen('cloud-1')
    wire.mend()
    await below.see('verdict', by('cloud-1'), before + 10)
    clearInterval(load)
    await press.inferred(given)
    const escalated = new Set(below.of('escalation').map(({ payload }) => payload.id))
    await below.see('verdict', ({ id }) => escalated.has(id), escalated.size)
    const ids = below.of('verdict').map(({ payload }) => payload.id)
    assert.equal(new Set(ids).size, ids.length, 'nobody is answered twice')
    const { asked, confirmed, changed, rejected, late } = agent.secondOpinions!.counts
    assert.equal(asked, confirmed + changed + rejected + late + agent.secondOpinions!.waiting)
    assert.ok(late > 0 && changed > 0)
  })
}

/** Second opinions alone: what is published and answered, in lists. */
function opinions(settings: Partial<ConstructorParameters<typeof SecondOpinions>[0]> = {}) {
  const host = new FakeHost()
  const model = host.models.get(tinyTask)!
  const asked: string[] = []
  const answers: Verdict[] = []
  const second = new SecondOpinions({
    ...threshold,
    models: host.models,
    maxItems: 2,
    maxBytes: 1_000_000,
    publish: async (_, { id }) => void asked.push(id),
    answer: (_, verdict) => answers.push(verdict),
    logger: silentLogger,
    ...settings,
  })
  second.start()
  const of = (confidence: number, item = queued()) => {
    const { id } = item.escalation
    const probabilities = [confidence, 1 - confidence]
    const times = { queueMs: 1, inferMs: 1 }
    const verdict = { id, label: 'normal', confidence, probabilities, model: model.model, agent: 'server-1', ...times }
    return { item, verdict }
  }
  const ask = (given = of(0.6)) => ({ ...given, taken: second.ask(given.item, given.verdict) })
  return { second, host, asked, answers, of, ask }
}

const from = (verdict: AnsweredVerdict, changes: Partial<AnsweredVerdict> = {}) => ({
  kind: 'upstream-verdict' as const,
  address: { kind: 'upstream-verdict' as const, site: 'plant-a', device: 'pi-1', point: 'motor-de' },
  payload: { ...verdict, agent: 'cloud-1', ...changes },
})

test('an answer from above counts once, for its own window and point alone', () => {
  const { second, answers, ask } = opinions()
  const { verdict, taken } = ask()
  assert.ok(taken)
  second.receive(from(verdict, { id: 'another' }))
  second.receive({ ...from(verdict), address: { ...from(verdict).address, device: 'pi-2' } })
  assert.deepEqual(answers, [])
  second.receive(from(verdict))
  second.receive(from(verdict, { label: 'fault' }))
  assert.deepEqual(answers, [{ ...verdict, agent: 'cloud-1' }])
  assert.equal(second.counts.confirmed, 1)
})

test('a copy of a window that waits is answered with it', () => {
  const { second, asked, answers, of, ask } = opinions()
  const given = of(0.6)
  assert.ok(ask(given).taken && ask(given).taken)
  second.receive(from(given.verdict))
  assert.equal(answers.length, 1)
  assert.equal(asked.length, 1)
})

test('the answer from here stands for a window with the id of another point that waits', () => {
  const { second, answers, of, ask } = opinions()
  const given = of(0.6)
  assert.ok(ask(given).taken)
  const elsewhere = { ...given.item, replyTo: { ...given.item.replyTo, device: 'pi-2' } }
  assert.ok(!ask({ ...given, item: elsewhere }).taken)
  second.receive(from(given.verdict))
  assert.equal(answers.length, 1)
})

test('without an answer from above the one from here is given while a quarter of the patience is left', t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { second, answers, of, ask } = opinions()
  const { verdict } = ask(of(0.6, queued({ patienceMs: 40_000 })))
  // The item was made before it was asked about, so a little of it is used.
  t.mock.timers.tick(25_000)
  assert.deepEqual(answers, [])
  t.mock.timers.tick(5_000)
  assert.deepEqual(answers, [verdict])
  assert.equal(second.counts.late, 1)
})

test('beyond what may wait, without time, and after a stop, the answer here stands', () => {
  const { second, answers, of, ask } = opinions()
  assert.ok(ask().taken && ask().taken)
  assert.ok(!ask().taken, 'two may wait')
  assert.equal(answers.length, 0)
  second.stop()
  assert.deepEqual(
    answers.map(verdict => answered(verdict) && verdict.agent),
    ['server-1', 'server-1'],
  )
  assert.ok(!ask().taken)
  const { ask: askInVain } = opinions()
  assert.ok(!askInVain(of(0.6, queued({ patienceMs: 1 }))).taken)
})

test('what cannot be published is answered at once', async () => {
  const { answers, ask } = opinions({ publish: () => Promise.reject(new Error('no connection')) })
  const { verdict, taken } = ask()
  assert.ok(taken)
  await new Promise(setImmediate)
  assert.deepEqual(answers, [verdict])
})

test('while a rejection says to wait nothing is asked', () => {
  const { second, ask } = opinions()
  const { verdict } = ask()
  const { address, kind } = from(verdict)
  second.receive({ kind, address, payload: { id: verdict.id, rejected: 'overloaded', retryAfterMs: 60_000 } })
  assert.ok(!ask().taken)
})

test('a policy that learns asks less once those above agree', () => {
  const learning = { policy: { name: 'default', parameters: { checkBudget: 0 } }, price: 0.3 }
  const { second, ask } = opinions(learning)
  let early = 0
  let late = 0
  for (let i = 0; i < 400; i++) {
    const { verdict, taken } = ask()
    if (!taken) continue
    if (i < 100) early++
    if (i >= 300) late++
    second.receive(from(verdict))
  }
  assert.ok(early > 0 && late < early, `${early} of the first hundred, ${late} of the last`)
})

test('a policy that does not exist ends the start', async t => {
  const broker = await startAgentBroker(t)
  await assert.rejects(startServer(t, broker, { secondOpinion: { policy: { name: 'guess' }, price: 0.2 } }), {
    code: 'POLICY_UNKNOWN',
  })
})
