import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  Calibration,
  classificationOf,
  createPolicy,
  FEWEST_CONTRADICTIONS,
  type LocalResult,
  type PairedAnswer,
  type PolicyModel,
  Random,
  ServerTrust,
} from '@faultline/inference'
import { serverTrustModel } from '../../inference/calibration/server-trust.ts'
import { withCode } from './bundles.ts'

const classes = ['normal', 'ball', 'inner-race']

/** How often the device and the server are right about an answer of this confidence, each for itself. */
interface Pair {
  device: (confidence: number) => number
  server: (confidence: number) => number
}

/** What is hard for the device is hard for the server: the more the device doubts, the less the server knows better. */
const hardIsHard: Pair = { device: p => p, server: p => p + (1 - p) * Math.min(0.9, 0.1 + 1.5 * (p - 0.4)) }
const infallible: Pair = { device: p => p, server: () => 1 }
/** Worse than the device, whatever the device says. */
const poor: Pair = { device: p => Math.min(1, p + 0.2), server: p => p - 0.1 }

interface Answer extends PairedAnswer {
  local: LocalResult
}

function answers(count: number, { device, server }: Pair, seed = 1): Answer[] {
  const random = new Random(seed)
  const other = (not: number) => (not + 1 + Math.floor(2 * random.uniform())) % 3
  return Array.from({ length: count }, () => {
    const confidence = 0.4 + 0.599 * random.uniform()
    const winner = Math.floor(3 * random.uniform())
    const probabilities = classes.map((_, i) => (i === winner ? confidence : (1 - confidence) / 2))
    const truth = random.uniform() < device(confidence) ? winner : other(winner)
    const remote = random.uniform() < server(confidence) ? truth : other(truth)
    return { probabilities, remote, truth, local: { ...classificationOf(classes, probabilities), classes } }
  })
}

const fitted = (pair: Pair, count = 4_000, seed = 7): PolicyModel => {
  const labelled = answers(count, pair, seed)
  const right = labelled.map(({ probabilities, local, truth }) => ({
    probabilities,
    right: local.label === classes[truth],
  }))
  return {
    normal: 'normal',
    calibration: Calibration.fit(right, { classes: 3 }).model,
    server: ServerTrust.fit(labelled, { classes: 3 })?.model,
  }
}

describe('trust in a server', () => {
  test('is what labels say of the windows on which the two differ', () => {
    const trust = ServerTrust.fit(answers(8_000, hardIsHard, 3), { classes: 3 })!
    const fresh = answers(16_000, hardIsHard, 4)
    for (const [from, to] of [
      [0.4, 0.5],
      [0.5, 0.6],
      [0.6, 0.7],
      [0.75, 0.9],
    ] as const) {
      const bin = fresh.filter(({ local }) => local.confidence >= from && local.confidence < to)
      const gained = bin.filter(({ remote, truth }) => remote === truth).length
      const kept = bin.filter(({ local, truth }) => local.label === classes[truth]).length
      const expected = bin.reduce((sum, { probabilities }) => sum + trust.gain(probabilities), 0) / bin.length
      const measured = (gained - kept) / bin.length
      assert.ok(Math.abs(expected - measured) < 0.04, `${from} to ${to}: ${expected}, measured ${measured}`)
    }
  })

  test('is near 1 of a server that is always right, and below 0 of one that is worse than the device', () => {
    const doubtful = [0.5, 0.25, 0.25]
    assert.ok(ServerTrust.fit(answers(4_000, infallible), { classes: 3 })!.trust(doubtful) > 0.95)
    assert.ok(ServerTrust.fit(answers(4_000, poor), { classes: 3 })!.trust(doubtful) < 0)
  })

  test('is not claimed from too few contradictions', () => {
    const all = answers(4_000, hardIsHard)
    const differ = all.filter(({ local, remote }) => local.label !== classes[remote])
    const fit = (count: number) => ServerTrust.fit(differ.slice(0, count), { classes: 3 })
    assert.equal(fit(FEWEST_CONTRADICTIONS - 1), undefined)
    assert.equal(fit(FEWEST_CONTRADICTIONS)!.model.contradictions, FEWEST_CONTRADICTIONS)
    assert.throws(
      () => ServerTrust.fit([{ probabilities: [Number.NaN, 0, 0], remote: 0, truth: 0 }], { classes: 3 }),
      withCode('MODEL_MISMATCH', /answer 1/),
    )
  })

  test('survives JSON and its schema, which refuses weights of another size', () => {
    const trust = ServerTrust.fit(answers(1_000, hardIsHard), { classes: 3, model: 'sha256:1' })!
    const again = serverTrustModel.parse(JSON.parse(JSON.stringify(trust.model)))
    assert.deepEqual(again, trust.model)
    for (const { probabilities } of answers(20, hardIsHard, 9))
      assert.equal(new ServerTrust(again).gain(probabilities), trust.gain(probabilities))
    const belief = { mean: [0], covariance: [1] }
    assert.ok(!serverTrustModel.safeParse({ ...trust.model, belief }).success)
  })
})

/** Cost per window with the server's mistakes counted. */
function cost(name: string, model: PolicyModel, windows: readonly Answer[], price: number): number {
  const policy = createPolicy({ name }, model, 1)
  let sum = 0
  for (const { local, remote, truth } of windows) {
    const { action, token } = policy.decide(local, { price })
    if (action === 'accept') {
      sum += Number(local.label !== classes[truth])
      continue
    }
    sum += price + Number(remote !== truth)
    const said = classes.map((_, i) => Number(i === remote))
    policy.learn({ local, remote: classificationOf(classes, said), price, token })
  }
  return sum / windows.length
}

for (const name of ['default', 'calibrated']) {
  test(`${name} asks a server only where that is more often right than the device, by more than the price`, () => {
    const windows = answers(8_000, hardIsHard, 11)
    const { server, ...without } = fitted(hardIsHard)
    for (const price of [0.05, 0.1, 0.2, 0.3]) {
      const [naive, knowing] = [cost(name, without, windows, price), cost(name, { ...without, server }, windows, price)]
      const never = cost('never', {}, windows, price)
      // Where asking is cheap both ask; where it is dear, taking the server for the truth costs.
      const gain = price < 0.2 ? -0.002 : 0.01
      assert.ok(knowing < naive - gain, `${price}: ${knowing}, ${naive} without`)
      // Less than half a standard error of a mean over so many windows.
      assert.ok(knowing < never + 0.002, `${price}: ${knowing}, never ${never}`)
    }
  })

  test(`${name} keeps away from a server that is worse than the device, and says why`, () => {
    const model = fitted(poor)
    const policy = createPolicy({ name }, model, 1)
    const windows = answers(4_000, poor, 12)
    const decisions = windows.map(({ local }) => policy.decide(local, { price: 0.02 }))
    assert.ok(decisions.every(({ action }) => action === 'accept'))
    const unsure = decisions.filter(({ numbers }) => numbers.score! < 0.6)
    for (const { numbers } of unsure) assert.ok((numbers.trust ?? numbers.saved)! < 0)
    if (name === 'default') assert.ok(unsure.every(({ reason }) => reason === 'server-no-better'))
  })

  test(`${name} takes a server of which nothing is known for always right`, () => {
    const { server, ...without } = fitted(infallible)
    const windows = answers(2_000, infallible, 13)
    const policies = [without, { ...without, server: undefined }].map(model => createPolicy({ name }, model, 1))
    for (const { local } of windows) {
      const [one, other] = policies.map(policy => policy.decide(local, { price: 0.1 }))
      assert.deepEqual(one, other)
      assert.ok(!('trust' in one!.numbers) && !('saved' in one!.numbers))
    }
    // Known to be always right is nearly the same.
    const [known, unknown] = [fitted(infallible), without].map(model => cost(name, model, windows, 0.1))
    assert.ok(Math.abs(known! - unknown!) < 0.01, `${known}, ${unknown}`)
  })
}
