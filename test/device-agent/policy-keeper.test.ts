import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { type TestContext, test } from 'node:test'
import { Calibration, classificationOf, type LocalResult } from '@faultline/inference'
import { createLogger, silentLogger } from '@faultline/runtime'
import type { PolicyChoice } from '../../device-agent/decisions/policy-keeper.ts'
import { PolicyKeeper } from '../../device-agent/decisions/policy-keeper.ts'
import { PolicyStates } from '../../device-agent/decisions/policy-states.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { startAgentBroker } from '../support/agent-broker.ts'
import { startDevice, startServer } from '../support/edge.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { sample, tinyLocalModel } from '../support/tiny-models.ts'

const classes = ['normal', 'fault']
const answer: LocalResult = { ...classificationOf(classes, [0.95, 0.05]), classes }
const price = 0.6
const hiLcb: PolicyChoice = {
  policy: { name: 'hi-lcb', parameters: { bins: 4, alpha: 1 } },
  auditRate: 0,
  episodes: 'off',
}
const digest = (digit: string) => `sha256:${digit.repeat(64)}`

async function storage(t: TestContext) {
  const directory = await temporaryDirectory(t)
  const log = join(directory, 'log')
  const open = (): DatabaseSync => {
    const database = openStorage(directory)
    t.after(() => database.isOpen && database.close())
    return database
  }
  const keeper = (database: DatabaseSync, model = '1') => {
    const kept = new PolicyKeeper({
      states: new PolicyStates(database),
      model: { ...tinyLocalModel, model: { ...tinyLocalModel.model, digest: digest(model) } },
      audits: { rate: setting => setting as number },
      seed: 1,
      logger: createLogger('test', { file: log }),
    })
    t.after(() => kept.save()) // Or its timer would keep the test waiting.
    return kept
  }
  const logged = async () => (await readFile(log, 'utf8')).trim().split('\n').filter(Boolean)
  return { directory, open, keeper, logged }
}

/** Learns until the policy is sure of the answer. */
function teach(keeper: PolicyKeeper): void {
  for (let i = 0; i < 20; i++) {
    const { token } = keeper.decide(answer, { price })
    keeper.learn({ local: answer, remote: answer, price, token })
  }
  assert.ok(knows(keeper), 'twenty right answers prove it')
}

const knows = (keeper: PolicyKeeper) => keeper.decide(answer, { price }).action === 'accept'

test('what was learned is saved within a minute, so that a crash costs no more', async t => {
  const { open, keeper } = await storage(t)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const before = keeper(open())
  before.use(hiLcb)
  teach(before)
  const tooSoon = keeper(open())
  tooSoon.use(hiLcb)
  assert.ok(!knows(tooSoon), 'not every verdict is written')
  t.mock.timers.tick(60_000)
  const after = keeper(open())
  after.use(hiLcb)
  assert.ok(knows(after))
})

test('another model begins anew, and going back to the old one goes on where it was', async t => {
  const { open, keeper } = await storage(t)
  const database = open()
  const run = (model: string, work: (keeper: PolicyKeeper) => void) => {
    const kept = keeper(database, model)
    kept.use(hiLcb)
    work(kept)
    kept.save()
  }
  run('1', teach)
  run('2', kept => assert.ok(!knows(kept)))
  run('1', kept => assert.ok(knows(kept)))
})

test('another policy has a state of its own, and the first one is found again by its parameters in any order', async t => {
  const { open, keeper } = await storage(t)
  const kept = keeper(open())
  kept.use(hiLcb)
  teach(kept)
  kept.use({ ...hiLcb, policy: { name: 'hi-lcb', parameters: { bins: 5, alpha: 1 } } })
  assert.ok(!knows(kept), 'counters of other bins')
  kept.use({ ...hiLcb, policy: { name: 'hi-lcb', parameters: { alpha: 1, bins: 4 } } })
  assert.ok(knows(kept))
})

test('the default policy begins with what the bundle knows of its answers', async t => {
  const { open } = await storage(t)
  const first = (answersRight: boolean | undefined) => {
    const labelled = Array.from({ length: 200 }, () => ({ probabilities: answer.probabilities, right: answersRight! }))
    const correctness = answersRight === undefined ? undefined : Calibration.fit(labelled, { classes: 2 }).model
    const kept = new PolicyKeeper({
      states: new PolicyStates(open()),
      model: { ...tinyLocalModel, bundle: { description: { calibration: { correctness } } } },
      audits: { rate: () => 0 },
      seed: 1,
      logger: silentLogger,
    })
    kept.use({ policy: { name: 'default', parameters: {} }, auditRate: 0, episodes: 'off' })
    return kept.decide(answer, { price: 0.2 }).numbers.right!
  }
  assert.ok(
    first(true) > first(undefined) && first(undefined) > first(false),
    'from sure to sceptical to sure of errors',
  )
})

test('another audit rate forgets nothing', async t => {
  const { open, keeper } = await storage(t)
  const kept = keeper(open())
  kept.use(hiLcb)
  teach(kept)
  kept.use({ ...hiLcb, auditRate: 1 })
  assert.equal(kept.decide(answer, { price }).reason, 'audit')
})

for (const [what, state] of [
  ['damaged', '{"policy":"audit"'],
  ['foreign', JSON.stringify({ policy: 'audit', version: 99, data: {} })],
  ['senseless', JSON.stringify([1, 2, 3])],
  ['empty', 'null'],
] as const)
  test(`a ${what} state is discarded with one line in the log`, async t => {
    const { open, keeper, logged } = await storage(t)
    const database = open()
    const before = keeper(database)
    before.use(hiLcb)
    teach(before)
    before.save()
    database.prepare('UPDATE policy_states SET state = ?').run(state)
    const after = keeper(database)
    after.use(hiLcb)
    assert.ok(!knows(after))
    const lines = await logged()
    assert.equal(lines.length, 1, lines.join('\n'))
    assert.match(lines[0]!, /kept policy state discarded/)
    teach(after)
    after.save()
    const repaired = keeper(database)
    repaired.use(hiLcb)
    assert.ok(knows(repaired))
  })

test('a policy that does not exist is refused, and the one in force goes on', async t => {
  const { open, keeper } = await storage(t)
  const kept = keeper(open())
  kept.use(hiLcb)
  teach(kept)
  assert.throws(() => kept.use({ ...hiLcb, policy: { name: 'oracle', parameters: {} } }), { code: 'POLICY_UNKNOWN' })
  assert.ok(knows(kept))
})

test('old models are forgotten in the end, those used last are not', async t => {
  const { open, keeper } = await storage(t)
  const database = open()
  for (let i = 0; i < 40; i++) {
    const kept = keeper(database, i.toString(36))
    kept.use(hiLcb)
    teach(kept)
    kept.save()
  }
  assert.deepEqual({ ...database.prepare('SELECT count(*) AS rows FROM policy_states').get() }, { rows: 32 })
  const kept = keeper(database, (38).toString(36))
  kept.use(hiLcb)
  assert.ok(knows(kept))
})

test('a database that takes nothing costs the state, not the agent', async t => {
  const { open, keeper, logged } = await storage(t)
  const database = open()
  const kept = keeper(database)
  kept.use(hiLcb)
  teach(kept)
  database.close()
  kept.save()
  assert.ok(knows(kept))
  assert.match((await logged()).join(), /policy state not saved/)
})

test('a device that starts again knows what it had learned', async t => {
  const broker = await startAgentBroker(t)
  await startServer(t, broker)
  const dataDirectory = await temporaryDirectory(t)
  const first = await startDevice(t, broker, { dataDirectory, price, policy: hiLcb.policy })
  await first.online()
  const reasons = []
  for (let i = 0; i < 20; i++) reasons.push((await first.infer(sample.normal))[0]!.reason)
  assert.equal(reasons[0], 'not-proven')
  assert.equal(reasons.at(-1), 'proven')
  await first.agent.stop()
  const second = await startDevice(t, broker, { dataDirectory, price, policy: hiLcb.policy })
  assert.equal((await second.infer(sample.normal))[0]!.reason, 'proven')
})
