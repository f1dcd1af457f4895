import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { EvidencePayload, PoolPayload, TopicAddress } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import { Pools } from '../../server-agent/pools.ts'

type EvidenceAddress = Extract<TopicAddress, { kind: 'evidence' }>

const model = (digit: string) => `sha256:${digit.repeat(64)}`
const address = (device: string, machineType = 'fan'): EvidenceAddress => ({
  kind: 'evidence',
  site: 'plant-a',
  device,
  machineType,
})

/** One cell of confidences: so many answers asked about, most of them right. */
function evidence(verdicts: number, changes: Partial<EvidencePayload> = {}): EvidencePayload {
  const sums = new Array<number>(192).fill(0)
  sums[20] = 10 * verdicts
  sums[64 + 20] = verdicts
  sums[128 + 20] = verdicts / 2
  return { at: '2026-03-02T08:10:00.000Z', model: model('a'), kind: 'confidence-cells', verdicts, sums, ...changes }
}

/** Pools whose clock a test turns, and what is retained at each of their topics. */
function start(t: TestContext) {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const published: [string, PoolPayload | undefined][] = []
  const pools = new Pools({
    publish: async (to, payload) => {
      published.push([`${to.model}/${to.machineType}`, payload])
      if (payload) pools.heard({ kind: 'pool', address: to, payload })
      else pools.cleared(to)
    },
    logger: silentLogger,
  })
  t.after(() => pools.stop())
  const tell = (device: string, payload: EvidencePayload, machineType?: string) =>
    pools.receive({ kind: 'evidence', address: address(device, machineType), payload })
  /** What is published within a minute. */
  const minute = () => {
    t.mock.timers.tick(60_000)
    return published.splice(0)
  }
  return { pools, tell, minute }
}

test('evidence of like machines is added up, of others apart', t => {
  const { tell, minute } = start(t)
  tell('pi-1', evidence(100))
  tell('pi-2', evidence(60))
  tell('pi-3', evidence(50), 'pump')
  tell('pi-4', evidence(40, { model: model('b') }))
  const found = minute().map(([topic, pool]) => [topic, pool?.devices, pool?.verdicts, pool?.sums[64 + 20]])
  assert.deepEqual(found, [
    ['aaaaaaaaaaaa/fan', 2, 160, 160],
    ['aaaaaaaaaaaa/pump', 1, 50, 50],
    ['bbbbbbbbbbbb/fan', 1, 40, 40],
  ])
})

test('what a device says later takes the place of what it said before', t => {
  const { tell, minute } = start(t)
  tell('pi-1', evidence(100))
  tell('pi-2', evidence(60))
  minute()
  tell('pi-1', evidence(200))
  tell('pi-1', evidence(200))
  assert.deepEqual(
    minute().map(([, pool]) => [pool?.devices, pool?.verdicts]),
    [[2, 260]],
  )
})

test('a device with another model is missed where it was, and an empty pool is cleared', t => {
  const { tell, minute } = start(t)
  tell('pi-1', evidence(100))
  minute()
  tell('pi-1', evidence(30, { model: model('b') }))
  assert.deepEqual(
    minute().map(([topic, pool]) => [topic, pool?.verdicts]),
    [
      ['aaaaaaaaaaaa/fan', undefined],
      ['bbbbbbbbbbbb/fan', 30],
    ],
  )
})

test('a device whose evidence is cleared leaves the pool', t => {
  const { pools, tell, minute } = start(t)
  tell('pi-1', evidence(100))
  tell('pi-2', evidence(60))
  minute()
  pools.cleared(address('pi-1'))
  assert.equal(minute()[0]?.[1]?.verdicts, 60)
})

test('a pool is published anew when it has grown by a quarter, not with every verdict', t => {
  const { tell, minute } = start(t)
  tell('pi-1', evidence(100))
  assert.equal(minute().length, 1)
  tell('pi-1', evidence(120))
  assert.equal(minute().length, 0)
  tell('pi-1', evidence(126))
  assert.equal(minute().length, 1)
})

test('two server agents that hear the same come to the same, and the second has nothing to publish', t => {
  const { pools, tell, minute } = start(t)
  const parts: [string, EvidencePayload][] = [
    ['pi-3', evidence(33)],
    ['pi-1', evidence(1_711)],
    ['pi-2', evidence(77)],
  ]
  for (const [device, payload] of parts) tell(device, payload)
  const first = minute()[0]![1]!
  const sent: unknown[] = []
  const second = new Pools({ publish: async (_, pool) => void sent.push(pool), logger: silentLogger })
  const hear = () => {
    for (const [device, payload] of [...parts].reverse())
      second.receive({ kind: 'evidence', address: address(device), payload })
    t.mock.timers.tick(60_000)
  }
  hear()
  assert.deepEqual(sent, [first])
  second.heard({
    kind: 'pool',
    address: { kind: 'pool', model: 'aaaaaaaaaaaa', machineType: 'fan', evidence: 'confidence-cells' },
    payload: first,
  })
  hear()
  assert.equal(sent.length, 1)
  second.stop()
  pools.stop()
})

test('evidence that nobody can have learned is refused and changes no pool', t => {
  const { tell, minute } = start(t)
  tell('pi-1', evidence(100))
  minute()
  const wrong: Partial<EvidencePayload>[] = [
    { kind: 'horoscope' },
    { kind: '__proto__' },
    { verdicts: 1_000_000 },
    { sums: [1, 2, 3] },
    { sums: evidence(100).sums.map(sum => -sum) },
    { kind: 'logistic', sums: new Array(20).fill(1e9) },
    // A precision that is none: it would take certainty away.
    { kind: 'logistic', sums: [1, 50, 1, 0, 0] },
  ]
  for (const changes of wrong)
    assert.throws(() => tell('pi-2', evidence(100, changes)), { code: 'POLICY_STATE_INVALID' }, JSON.stringify(changes))
  assert.deepEqual(minute(), [])
})
