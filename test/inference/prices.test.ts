import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Circumstances, checkPriceList, createPolicy, leastPrice, type Quote, quote } from '@faultline/inference'
import { FaultlineError } from '@faultline/protocol'
import fc from 'fast-check'
import { priceList } from '../support/price-lists.ts'
import { answer, binary, make, model } from './policy-support.ts'

const now: Circumstances = { bytes: 5_000, serverSeconds: 2, link: 'lte' }
const near = (actual: number, expected: number): void =>
  assert.ok(Math.abs(actual - expected) <= 1e-9 * Math.max(1, Math.abs(expected)), `${actual} is not ${expected}`)

const invalid = (field: string) => (error: unknown) => {
  assert.ok(error instanceof FaultlineError && error.code === 'CONFIG_INVALID', String(error))
  assert.ok(error.message.includes(`${field}:`), error.message)
  return true
}

test('bytes, joules and server seconds become a price in wrong accepted answers', () => {
  const { price, costs, numbers } = quote(priceList, now)
  near(numbers.priceBytes!, (0.005 * 10) / 2) // 5 kB of 10 EUR/MB, a missed fault being 2 EUR
  near(numbers.priceEnergy!, ((5 / 3.6e6) * 0.36) / 2) // 5 J
  near(numbers.priceServer!, (2 * 0.01) / 2)
  near(price, 0.03500025)
  assert.deepEqual(costs, { missedFault: 1, falseAlarm: 0.25, wrongFault: 0.25 })
})

test('the unit is the dearest wrong answer, whichever it is', () => {
  const { price, costs } = quote({ ...priceList, falseAlarmCost: 8, wrongFaultCost: 4 }, now)
  assert.deepEqual(costs, { missedFault: 0.25, falseAlarm: 1, wrongFault: 0.5 })
  near(price, 0.03500025 / 4)
})

test('another currency unit changes nothing', () => {
  const cents = {
    ...priceList,
    missedFaultCost: 200,
    falseAlarmCost: 50,
    serverSecondCost: 1,
    energyCostPerKWh: 36,
    links: { lte: { ...priceList.links.lte!, tariffPerMB: 1_000 } },
  }
  near(quote(cents, now).price, quote(priceList, now).price)
})

test('a link of its own has a price of its own', () => {
  near(quote(priceList, { ...now, link: 'cable' }).price, 0.01)
  assert.throws(() => quote(priceList, { ...now, link: 'pigeon' }), invalid('link'))
})

test('below its level a battery raises the price in proportion, up to the factor of an empty one', () => {
  const { price } = quote(priceList, now)
  for (const [batteryLevel, factor] of [
    [1, 1],
    [0.5, 1],
    [0.25, 3],
    [0, 5],
  ] as const) {
    near(quote(priceList, { ...now, batteryLevel }).price, price * factor)
  }
})

test('the announced wait raises the price, until no answer can come in time and asking never pays', () => {
  const { price } = quote(priceList, now)
  near(quote(priceList, { ...now, serverLoad: 0.5 }).price, price * 2)
  near(quote(priceList, { ...now, serverLoad: 0.9 }).price, price * 10)
  for (const serverLoad of [1, 3, Number.POSITIVE_INFINITY]) {
    assert.equal(quote(priceList, { ...now, serverLoad }).price, 1)
  }
  // Also where it costs nothing else.
  assert.equal(quote(priceList, { bytes: 5_000, serverSeconds: 0, link: 'cable', serverLoad: 1 }).price, 1)
})

test('a price that could never pay is 1 and says what it would have been; one of nothing is the least', () => {
  const dear = quote(priceList, { ...now, bytes: 1e6 })
  assert.equal(dear.price, 1)
  near(dear.numbers.uncappedPrice!, dear.numbers.priceBytes! + dear.numbers.priceEnergy! + dear.numbers.priceServer!)
  assert.ok(dear.numbers.uncappedPrice! > 5)
  assert.equal(quote(priceList, { bytes: 5_000, serverSeconds: 0, link: 'cable' }).price, leastPrice)
})

test('the published parts make the published price, whatever the circumstances', () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true })
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 20_000 }), share, share, share, (bytes, serverSeconds, level, load) => {
      const { price, numbers } = quote(priceList, {
        bytes,
        serverSeconds,
        link: 'lte',
        batteryLevel: level,
        serverLoad: load * 0.99,
      })
      const { priceBytes = 0, priceEnergy = 0, priceServer = 0, batteryFactor = 1, serverLoad = 0 } = numbers
      const product = ((priceBytes + priceEnergy + priceServer) * batteryFactor) / (1 - serverLoad)
      near(price, Math.min(1, Math.max(leastPrice, product)))
      near(numbers.uncappedPrice ?? price, Math.max(leastPrice, product))
    }),
  )
})

test('the price never falls with more bytes, less charge or more load', () => {
  const bytes = fc.integer({ min: 0, max: 1_000_000 })
  const share = fc.double({ min: 0, max: 1, noNaN: true })
  const at = (bytes: number, batteryLevel: number, serverLoad: number) =>
    quote(priceList, { ...now, bytes, batteryLevel, serverLoad }).price
  fc.assert(
    fc.property(bytes, bytes, share, share, share, share, (b1, b2, l1, l2, w1, w2) => {
      const cheap = at(Math.min(b1, b2), Math.max(l1, l2), Math.min(w1, w2))
      const dear = at(Math.max(b1, b2), Math.min(l1, l2), Math.max(w1, w2))
      assert.ok(cheap > 0 && cheap <= dear && dear <= 1)
    }),
  )
})

test('nonsense in a price list is refused by the name of its field', () => {
  const wrong: [field: string, change: Record<string, unknown>][] = [
    ['currency', { currency: '€' }],
    ['missedFaultCost', { missedFaultCost: -1 }],
    ['missedFaultCost', { missedFaultCost: 0 }],
    ['falseAlarmCost', { falseAlarmCost: Number.NaN }],
    ['wrongFaultCost', { wrongFaultCost: Number.POSITIVE_INFINITY }],
    ['serverSecondCost', { serverSecondCost: '3' }],
    ['energyCostPerKWh', { energyCostPerKWh: -0.3 }],
    ['links.lte.tariffPerMB', { links: { lte: { ...priceList.links.lte, tariffPerMB: -1 } } }],
    // Joules per megabyte.
    ['links.lte.joulesPerByte', { links: { lte: { ...priceList.links.lte, joulesPerByte: 4 } } }],
    // Per cent.
    ['battery.below', { battery: { below: 30, factorWhenEmpty: 5 } }],
    ['battery.factorWhenEmpty', { battery: { below: 0.3, factorWhenEmpty: 0.5 } }],
    ['link', { link: 'pigeon' }],
  ]
  for (const [field, change] of wrong) {
    assert.throws(() => checkPriceList({ ...priceList, ...change }), invalid(field), field)
  }
  assert.throws(() => checkPriceList({ ...priceList, tariffPerGB: 1 }), /tariffPerGB/)
  assert.deepEqual(checkPriceList(priceList), priceList)
})

test('nonsense in the circumstances is refused by name', () => {
  for (const field of ['bytes', 'serverSeconds', 'batteryLevel', 'serverLoad'] as const) {
    for (const value of [-1, Number.NaN]) {
      assert.throws(() => quote(priceList, { ...now, [field]: value }), invalid(field))
    }
  }
  assert.throws(() => quote(priceList, { ...now, batteryLevel: 55 }), invalid('batteryLevel'))
})

const context = (changes: Partial<Quote['costs']> = {}, price = 0.2) => ({
  price,
  costs: { missedFault: 1, falseAlarm: 0.5, wrongFault: 0.5, ...changes },
})

test('calibrated takes the costs of the price list, unless it was given its own', () => {
  const ofList = make('calibrated')
  const given = make('calibrated', { missedFault: 1, falseAlarm: 0.5, wrongFault: 0.5 })
  const share = fc.integer({ min: 0, max: 1_000 }).map(value => value / 1_000)
  fc.assert(
    fc.property(share, share, (fault, price) => {
      const local = binary(fault)
      assert.deepEqual(ofList.decide(local, context({}, price)), given.decide(local, { price }))
    }),
  )
  // A doubtful fault is worth asking about only where a false alarm is dear.
  const doubtful = answer(0.3, 0.7, 0)
  assert.equal(ofList.decide(doubtful, context()).action, 'accept')
  assert.equal(make('calibrated', { falseAlarm: 1 }).decide(doubtful, context()).action, 'escalate')
})

test('without a normal class calibrated takes every mistake for the dearest', () => {
  const policy = createPolicy({ name: 'calibrated' })
  assert.equal(policy.decide(binary(0.7), context()).numbers.expectedCost?.toFixed(6), '0.300000')
})

test('relevance asks of normal what the closed form asks, unless it was given a confidence', () => {
  const { threshold } = make('relevance').decide(binary(0.1), context({ missedFault: 0.8 })).numbers
  near(threshold!, 0.75)
  assert.equal(make('relevance', { confidence: 0.6 }).decide(binary(0.1), context()).numbers.threshold, 0.6)
  assert.equal(make('relevance').decide(binary(0.1), { price: 0.2 }).numbers.threshold, model.threshold)
})

test('h2t2 charges what the price list charges', () => {
  const verdicts = (policy: ReturnType<typeof make>, costs?: Quote['costs']) => {
    for (let i = 0; i < 200; i++) {
      const local = binary((i % 10) / 10)
      const { token } = policy.decide(local, { price: 0.2 })
      if (token) policy.learn({ local, remote: binary(i % 3 === 0 ? 1 : 0), price: 0.2, costs, token })
    }
    return policy.snapshot()
  }
  const costs = { missedFault: 0.9, falseAlarm: 0.3, wrongFault: 0.3 }
  const ofList = verdicts(make('h2t2', { explorationRate: 0.5 }), costs)
  assert.deepEqual(ofList, verdicts(make('h2t2', { explorationRate: 0.5, missedFault: 0.9, falseAlarm: 0.3 })))
  assert.notDeepEqual(ofList, verdicts(make('h2t2', { explorationRate: 0.5 })))
})

test('a policy says which escalations are there to learn from', () => {
  const learned = make('hi-lcb-lite', { bins: 1, binning: 'equal-width' })
  const decide = () => learned.decide(binary(0.1), { price: 0.3 })
  assert.equal(decide().explores, true) // Nobody has asked yet: it is not proven, and nothing speaks against it.
  const wrong = { local: binary(0.1), remote: binary(1), price: 0.3 }
  learned.learn(wrong)
  assert.equal(decide().explores, false) // Known to be wrong.
  const right = { ...wrong, remote: binary(0) }
  for (let i = 0; i < 9; i++) learned.learn(right)
  assert.deepEqual([decide().reason, decide().explores], ['not-proven', true]) // 9 of 10, too few to be sure
  assert.equal(make('threshold').decide(binary(0.5), { price: 0.3 }).explores ?? false, false)
})

test('what a policy calls exploration it would accept otherwise', () => {
  for (const name of ['hil-n', 'h2t2']) {
    const policy = make(name, { explorationRate: 0.5 })
    const reasons = Array.from({ length: 300 }, (_, i) => policy.decide(binary((i % 50) / 100), { price: 0.3 }))
    const explored = reasons.filter(({ reason }) => reason === 'explored')
    const shares = [explored.filter(({ explores }) => explores).length, explored.length]
    assert.ok(shares[0]! > 0 && shares[0]! < shares[1]!, `${name}: ${shares}`)
    assert.ok(reasons.every(({ reason, explores }) => !explores || reason === 'explored'))
  }
})
