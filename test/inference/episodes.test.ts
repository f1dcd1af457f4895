import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AuditedPolicy, type EpisodeOptions, EpisodicPolicy, type LocalResult, Random } from '@faultline/inference'
import { answer, make, throughJson } from './policy-support.ts'

const options: EpisodeOptions = { agreeing: 3, holdS: 60 }
const second = 1_000

const normal = answer(1, 0, 0)
const ball = answer(0, 0.97, 0.03)
/** The device is not sure, and says "ball". */
const doubtful = (confidence = 0.6) => answer(0, confidence, 1 - confidence)
const otherwise = answer(0, 0.3, 0.7)

/** A point whose windows come every second, escalated below 0.8, with verdicts at once. */
class Stream {
  readonly policy: EpisodicPolicy
  at = 0

  constructor(given: EpisodeOptions | 'off' = options, name = 'threshold') {
    this.policy = new EpisodicPolicy(make(name), given)
  }

  decide(local: LocalResult, point = 'a') {
    this.at += second
    return this.policy.decide(local, { price: 0.2, point, at: this.at })
  }

  /** What came of it: the reason, and the verdict learned where the window was escalated. */
  see(local: LocalResult, verdict: LocalResult, point = 'a'): string {
    const { action, reason, token } = this.decide(local, point)
    if (action === 'escalate') this.policy.learn({ local, remote: verdict, price: 0.2, token, point })
    return reason
  }

  /** Up to where an episode holds. */
  begun(): this {
    for (let i = 0; i < 3; i++) assert.equal(this.see(doubtful(0.55 + 0.05 * i), ball), 'below-threshold')
    assert.equal(this.see(doubtful(), ball), 'episode')
    return this
  }
}

test('after so many verdicts that agree, the same condition is answered as the server did', () => {
  const { action, reason, answer, numbers } = new Stream().begun().decide(doubtful(0.62))
  assert.deepEqual([action, reason, answer], ['accept', 'episode', { label: 'ball', confidence: 0.97 }])
  assert.deepEqual([numbers.agreed, numbers.sinceVerdictS, numbers.score], [3, 2, 0.62])
})

test('verdicts that contradict each other begin no episode', () => {
  const stream = new Stream()
  const reasons = Array.from({ length: 12 }, (_, i) => stream.see(doubtful(), i % 3 === 2 ? normal : ball))
  assert.ok(reasons.every(reason => reason === 'below-threshold'))
})

test('the server may say something else than the device, window after window', () => {
  const stream = new Stream()
  for (let i = 0; i < 3; i++) stream.see(doubtful(), normal)
  assert.deepEqual(stream.decide(doubtful()).answer, { label: 'normal', confidence: 1 })
})

test('another label of the device ends it, sure or unsure, and the old one begins anew', () => {
  for (const other of [otherwise, normal]) {
    const stream = new Stream().begun()
    stream.see(other, ball)
    assert.equal(stream.see(doubtful(), ball), 'below-threshold')
  }
})

test('a confidence outside those answered for is asked about; the answer widens the range', () => {
  const stream = new Stream().begun()
  assert.equal(stream.see(doubtful(0.7), ball), 'below-threshold')
  assert.equal(stream.see(doubtful(0.68), ball), 'episode')
  assert.equal(stream.see(doubtful(0.51), ball), 'below-threshold')
  assert.equal(stream.see(doubtful(0.52), ball), 'episode')
})

test('confidences of one kind leave their range ever more rarely', () => {
  const stream = new Stream({ agreeing: 3, holdS: 1e6 })
  const random = new Random(1)
  const asked = Array.from(
    { length: 1_000 },
    () => stream.see(doubtful(0.51 + 0.28 * random.uniform()), ball) !== 'episode',
  )
  const questions = asked.filter(Boolean).length
  // The sum of 2 / (n + 1) over the 1,000: about 2 ln 1,000.
  assert.ok(questions >= 3 && questions < 25, String(questions))
  assert.ok(asked.slice(500).filter(Boolean).length < 8)
})

test('a verdict that disagrees ends it: of an audit, too', () => {
  const stream = new Stream().begun()
  const { token } = stream.decide(doubtful())
  stream.policy.learn({ local: doubtful(), remote: normal, price: 0.2, token, point: 'a' })
  assert.equal(stream.see(doubtful(), ball), 'below-threshold')
  const audited = new AuditedPolicy(stream.begun().policy, { rate: 1, seed: 1 })
  const decision = audited.decide(doubtful(), { price: 0.2, point: 'a', at: stream.at + second })
  assert.deepEqual([decision.action, decision.reason, decision.answer?.label], ['escalate', 'audit', 'ball'])
})

test('when the time is up one verdict renews it', () => {
  const stream = new Stream().begun()
  stream.at += 61 * second
  assert.equal(stream.see(doubtful(), ball), 'below-threshold')
  assert.equal(stream.see(doubtful(), ball), 'episode')
})

test('each point has its own', () => {
  const stream = new Stream().begun()
  assert.equal(stream.see(doubtful(), ball, 'b'), 'below-threshold')
  assert.equal(stream.see(doubtful(), ball, 'a'), 'episode')
})

test('a verdict that comes after the condition has changed counts for nothing', () => {
  const stream = new Stream()
  const late = [1, 2, 3].map(() => stream.decide(doubtful()))
  stream.decide(normal)
  for (const { token } of late) stream.policy.learn({ local: doubtful(), remote: ball, price: 0.2, token, point: 'a' })
  assert.equal(stream.see(doubtful(), ball), 'below-threshold')
})

test('what is escalated in order to learn is left alone, and with "off" everything', () => {
  const learning = new Stream(options, 'hi-lcb')
  const reasons = Array.from({ length: 12 }, () => learning.see(doubtful(), ball))
  assert.ok(!reasons.includes('episode'), reasons.join())
  const off = new Stream('off')
  for (let i = 0; i < 12; i++) assert.equal(off.see(doubtful(), ball), 'below-threshold')
})

test('points are bounded, and an episode survives a snapshot', () => {
  const stream = new Stream().begun()
  const restored = new EpisodicPolicy(make('threshold'), options)
  restored.restore(throughJson(stream.policy.snapshot()))
  assert.equal(restored.decide(doubtful(), { price: 0.2, point: 'a', at: stream.at + second }).reason, 'episode')
  for (let i = 0; i < 300; i++) stream.decide(doubtful(), `point-${i}`)
  const { runs } = stream.policy.snapshot().data as { runs: unknown[] }
  assert.equal(runs.length, 256)
})
