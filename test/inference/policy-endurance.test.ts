import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Classification,
  classificationOf,
  type LocalResult,
  type Policy,
  type PolicyState,
  policyNames,
} from '@faultline/inference'
import { answer, classes, make, samples, throughJson } from './policy-support.ts'

/**
 * Rounds, where they are really to be counted: `npm run endurance` takes every policy that learns through ten million of the
 * first stream, in minutes. Without it the same is reached in seconds, by steps as much larger or by a state as old.
 */
const given = Number(process.env.FAULTLINE_ENDURANCE ?? 0)
const TEN_MILLION = 10_000_000
const QUICK = 50_000
/** Losses of ten million rounds at the step of the default horizon of 100,000, charged in so many fewer. */
const fast = TEN_MILLION / QUICK
const steps: Record<string, number> = { 'hil-f': 0.0183, 'hil-n': 0.0026, h2t2: 0.003 }

const stream = samples(1_024)
const verdict = (winner: number): Classification =>
  classificationOf(
    classes,
    classes.map((_, i) => Number(i === winner)),
  )
const sure = answer(1, 0, 0)
const torn = answer(1 / 3, 1 / 3, 1 / 3)

/** What wears a state out: all weight on one side, everything in one bin, nothing but surprises. */
const streams: Record<string, (i: number) => { local: LocalResult; remote: Classification }> = {
  'mixed answers, the sure ones contradicted': i => {
    const { local, truth } = stream[i & 1_023]!
    return { local, remote: local.confidence > 0.9 ? verdict(2) : truth }
  },
  'certain and always right': () => ({ local: sure, remote: verdict(0) }),
  'certain and always wrong': () => ({ local: sure, remote: verdict(1) }),
  'torn and always right': () => ({ local: torn, remote: verdict(0) }),
  'certain, right and wrong in turns of a thousand': i => ({ local: sure, remote: verdict(Math.floor(i / 1_000) % 2) }),
}

function run(policy: Policy, name: string, count: number): void {
  const next = streams[name]!
  for (let i = 0; i < count; i++) {
    const { local, remote } = next(i)
    const { token } = policy.decide(local, { price: 0.2 })
    policy.learn({ local, remote, price: 0.2, token })
  }
}

/** Every number is one, every share is one, and the state survives being kept. */
function assertSound(policy: Policy): void {
  for (const { local } of [...stream, { local: sure }, { local: torn }])
    for (const price of [0, 0.2, 1]) {
      const { numbers } = policy.decide(local, { price })
      for (const [key, value] of Object.entries(numbers)) assert.ok(Number.isFinite(value), `${key} ${value}`)
      for (const key of ['acceptShare', 'normalShare', 'faultShare', 'bound', 'right'])
        assert.ok(!(numbers[key]! < 0 || numbers[key]! > 1), `${key} ${numbers[key]}`)
    }
  const kept = throughJson(policy.snapshot())
  assert.deepEqual(kept, policy.snapshot())
  make(policy.name).restore(kept)
}

/** A state of counters with every count as many times as large. */
function aged(value: unknown, times: number, key = ''): unknown {
  if (typeof value === 'number') return ['rounds', 'asked', 'right'].includes(key) ? value * times : value
  if (Array.isArray(value)) return value.map(part => aged(part, times, key))
  if (value === null || typeof value !== 'object') return value
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, aged(part, times, name)]))
}

/** Without a memory nothing can wear out. */
const learning = policyNames.filter(name => make(name).snapshot().data !== null)

for (const name of learning) {
  for (const [i, what] of Object.keys(streams).entries()) {
    if (given > 0) {
      if (i > 0) continue
      test(`${name} comes through ${given.toLocaleString('en')} rounds: ${what}`, () => {
        const policy = make(name)
        run(policy, what, given)
        assertSound(policy)
      })
      continue
    }
    test(`${name} comes through the losses of ten million rounds: ${what}`, () => {
      const policy = make(name, steps[name] ? { step: steps[name] * fast } : {})
      // An update of `default` is a matrix; its weights settle within some thousands, and then only repeat themselves.
      const count = name === 'default' ? QUICK / 5 : QUICK
      run(policy, what, count)
      if (name.startsWith('hi-lcb')) {
        policy.restore(aged(throughJson(policy.snapshot()), TEN_MILLION / count) as PolicyState)
        run(policy, what, 1_000)
      }
      assertSound(policy)
    })
  }
}
