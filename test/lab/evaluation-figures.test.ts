import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Calibration, classificationOf, createPolicy, type RecordingInfo } from '@faultline/inference'
import { BearingData } from '../../lab/data/bearing-data.ts'
import { resample } from '../../lab/data/resample.ts'
import { rms } from '../../lab/data/windows.ts'
import type { FoldAnswers } from '../../lab/evaluation/answers.ts'
import { commissioningResults } from '../../lab/evaluation/commissioning.ts'
import { curvesOf } from '../../lab/evaluation/curves.ts'
import { decisionsOf } from '../../lab/evaluation/decisions.ts'
import { foldsOf } from '../../lab/evaluation/folds.ts'
import { bootstrapRuns, poissonUpperBound } from '../../lab/evaluation/intervals.ts'
import { priceFor, scoresOf } from '../../lab/evaluation/policy.ts'
import { openUestc } from '../../lab/evaluation/rigs.ts'
import { rowsOf } from '../../lab/evaluation/rows.ts'
import { plot } from '../../lab/report/plot.ts'
import { comparedDiameters } from '../../lab/splits.ts'
import { dataDirectory, missingData } from '../support/data.ts'

function listed(recordings: RecordingInfo[]): BearingData {
  const samples = new Float32Array()
  const dataset = { directory: '', recordings, read: async () => samples, signal: async () => ({ samples, gaps: [] }) }
  return new BearingData(dataset, 12_000)
}

test('no fold tests a recording, a run or a defect it says it left out', () => {
  const sound = { id: 'normal', class: 'normal', rateHz: 12_000, samples: 60_985, loadHp: 0, group: 'normal' } as const
  const faults = [0, 1, 2, 3].flatMap(loadHp =>
    comparedDiameters.flatMap(diameterInch =>
      (['ball', 'inner-race', 'outer-race'] as const).map(name => {
        const id = `${name}-${diameterInch}-${loadHp}`
        return { id, class: name, rateHz: 12_000, samples: 120_000, loadHp, diameterInch, group: id }
      }),
    ),
  )
  const runs = [800, 1200].flatMap(rpm =>
    (['normal', 'ball', 'inner-race', 'outer-race'] as const).flatMap(name =>
      [1, 2, 3].map(part => ({
        id: `${name}-${rpm}-${part}`,
        class: name,
        rateHz: 20_000,
        samples: 200_000,
        shaftHz: rpm / 60,
        group: `${name}-${rpm}`,
      })),
    ),
  )
  const [cwru, uestc] = [listed([sound, ...faults]), listed(runs)]
  const folds = foldsOf(cwru, uestc)
  assert.deepEqual(
    folds.map(fold => fold.name),
    ['0 hp', '1 hp', '2 hp', '3 hp', '0.007 inch', '0.014 inch', '0.021 inch', '800 rpm', '1200 rpm', 'all'],
  )
  for (const { name, trainedOn, testedOn, parts } of folds) {
    const groups = (side: typeof parts.train, data: BearingData) =>
      new Set(side.filter(part => part.from === undefined).map(part => data.info(part.recording).group))
    const seen = groups([...parts.train, ...parts.validation], trainedOn)
    if (trainedOn === testedOn)
      for (const group of groups(parts.test, testedOn)) assert.ok(!seen.has(group), `${name}: ${group}`)
    const leftOut = (part: { recording: string }) => {
      const info = trainedOn.info(part.recording)
      const stated = [`${info.loadHp} hp`, `${info.diameterInch} inch`, `${Math.round(60 * (info.shaftHz ?? 0))} rpm`]
      return info.class !== 'normal' || trainedOn === uestc ? stated.includes(name) : false
    }
    assert.ok(![...parts.train, ...parts.validation].some(leftOut), name)
  }
})

test('intervals come from runs: many windows of few runs say little, and a seed repeats them', () => {
  const share = (runs: readonly number[]) => ({ share: runs.reduce((a, b) => a + b, 0) / runs.length })
  const runs = Array.from({ length: 40 }, (_, i) => (i % 4 === 0 ? 0 : 1))
  const { share: interval } = bootstrapRuns(runs, share)
  assert.equal(interval.value, 0.75)
  // The standard error of 30 of 40 is 0.068.
  assert.ok(interval.low! > 0.55 && interval.low! < 0.68, String(interval.low))
  assert.ok(interval.high! > 0.82 && interval.high! < 0.95, String(interval.high))
  assert.deepEqual(bootstrapRuns(runs, share).share, interval)
  assert.deepEqual(bootstrapRuns([1, 1, 0], share).share, { value: 2 / 3, low: null, high: null })
})

test('upper bounds on counts are those of the tables', () => {
  for (const [count, bound] of [
    [0, 2.996],
    [1, 4.744],
    [2, 6.296],
    [10, 16.962],
  ] as const)
    assert.ok(Math.abs(poissonUpperBound(count) - bound) < 1e-3, String(count))
})

/** Six windows of three runs; the device is sure and wrong once, unsure and wrong once. */
function answers(change: Partial<FoldAnswers> = {}): FoldAnswers {
  const row = (best: number, p: number) => Array.from({ length: 4 }, (_, i) => (i === best ? p : (1 - p) / 3))
  return {
    split: 'split',
    fold: 'one',
    models: 'shipped',
    labels: Uint8Array.of(0, 0, 1, 1, 2, 2),
    runs: ['n', 'n', 'b', 'b', 'i', 'i'],
    levels: Float32Array.of(1, 1.2, 2, 3, 0.9, 5),
    local: Float32Array.from([row(0, 0.9), row(1, 0.9), row(1, 0.9), row(2, 0.4), row(2, 0.9), row(2, 0.9)].flat()),
    server: Float32Array.from([0, 0, 1, 1, 2, 2].flatMap(label => row(label, 0.97))),
    scores: Float32Array.of(0.9, 0.9, 0.9, 0.4, 0.9, 0.9),
    known: { calibration: Calibration.fit([], { classes: 4 }).model },
    price: 0.5,
    threshold: 0.5,
    confidence: 0.5,
    rmsLimit: 1.5,
    ...change,
  }
}

test('each method decides as it says', () => {
  const named = (method: Parameters<typeof decisionsOf>[0]) => decisionsOf(method, answers()).map(({ named }) => named)
  assert.deepEqual(named('local'), [0, 1, 1, 2, 2, 2])
  assert.deepEqual(named('server'), [0, 0, 1, 1, 2, 2])
  assert.deepEqual(named('hierarchical'), [0, 1, 1, 1, 2, 2])
  assert.deepEqual(
    decisionsOf('rms', answers()).map(({ faulty }) => faulty),
    [false, false, true, true, false, true],
  )
  const broken = answers({ scores: new Float32Array(6).fill(Number.NaN) })
  assert.ok(decisionsOf('hierarchical', broken).every(({ escalated }) => escalated))
})

test('scores are what the default policy decides by, and no answer at all is escalated', () => {
  const right = Array.from({ length: 400 }, (_, i) => i % 4 !== 0)
  const answer = (sure: boolean) => (sure ? [0.9, 0.05, 0.03, 0.02] : [0.4, 0.35, 0.2, 0.05])
  const calibration = Calibration.fit(
    right.map(each => ({ probabilities: answer(each), right: each })),
    { classes: 4 },
  ).model
  const scores = scoresOf(Float32Array.from([...answer(true), ...answer(false), ...answer(true).fill(Number.NaN)]), {
    calibration,
  })
  assert.ok(scores[0]! > 0.9 && scores[1]! < 0.3, scores.join())
  assert.ok(Number.isNaN(scores[2]))
  const policy = createPolicy({ name: 'default', parameters: { checkBudget: 0 } }, { calibration })
  const classes = ['normal', 'ball', 'inner-race', 'outer-race']
  for (const [i, sure] of [true, false].entries()) {
    const local = { ...classificationOf(classes, answer(sure)), classes }
    for (const [price, action] of [
      [1 - scores[i]! + 1e-3, 'accept'],
      [1 - scores[i]! - 1e-3, 'escalate'],
    ] as const)
      assert.equal(policy.decide(local, { price }).action, action)
  }
})

test('the price lets a fifth of the windows through', () => {
  const scores = Float32Array.from({ length: 100 }, (_, i) => (100 - i) / 101)
  const price = priceFor(scores)
  assert.equal(scores.filter(score => score < 1 - price).length, 20)
})

test('rows count what was seen once', () => {
  const rows = rowsOf([answers(), answers({ fold: 'two', runs: ['n', 'n', 'c', 'c', 'j', 'j'] })], 4_000)
  const row = (fold: string, method: string) => rows.find(each => each.fold === fold && each.method === method)!
  const both = row('one', 'hierarchical')
  assert.equal(both.accuracy!.value, 5 / 6)
  assert.equal(both.bytesPerWindow, 4_000 / 6)
  assert.deepEqual([both.falseAlarms!.windows, both.falseAlarms!.of], [1, 2])
  assert.deepEqual(both.confusion, [
    [1, 1, 0, 0],
    [0, 2, 0, 0],
    [0, 0, 2, 0],
    [0, 0, 0, 0],
  ])
  assert.equal(row('one', 'rms').detection.value, 5 / 6)
  assert.equal(row('one', 'rms').missedFaultRate, 1 / 4)
  const together = row('all folds', 'local')
  assert.equal(together.windows, 12)
  assert.equal(together.runs, 5)
  assert.deepEqual([together.falseAlarms!.windows, together.falseAlarms!.of], [1, 2])
})

test('curves hold costs and the prices at which escalating pays', () => {
  const { cost, calibrated, paysBetween, reliability } = curvesOf([answers()], 4)
  assert.deepEqual(calibrated, { x: 0.1667, y: 0.8333 })
  const at = (points: { x: number; y: number }[], price: number) => points.find(point => point.x === price)!.y
  assert.equal(at(cost.never, 0.3), 0.3333)
  assert.equal(at(cost.always, 0.3), 0.3)
  assert.equal(at(cost.calibrated, 0.3), 0.2167)
  assert.ok(at(cost.best, 0.3) <= 0.2167)
  // One wrong answer of six is saved for one escalation of six, so up to a price of 1; always wins below 0.2.
  assert.deepEqual(paysBetween, [0.21, 0.6])
  assert.deepEqual(
    reliability.local.map(bin => bin.windows),
    [1, 5],
  )
})

test('resampling by 3/5 keeps what fits below the new Nyquist frequency and removes what would fold', () => {
  const sine = (hz: number, rateHz: number, length: number) =>
    Float32Array.from({ length }, (_, i) => Math.sin((2 * Math.PI * hz * i) / rateHz))
  const kept = resample(sine(3_000, 20_000, 10_000), 3, 5)
  assert.equal(kept.length, 6_000)
  const expected = sine(3_000, 12_000, 6_000)
  for (let i = 100; i < 5_900; i++) assert.ok(Math.abs(kept[i]! - expected[i]!) < 0.01, String(i))
  assert.ok(rms(resample(sine(8_000, 20_000, 10_000), 3, 5).subarray(100, 5_900)) < 0.005)
})

test('a plot is one safe element with ticks at round places', () => {
  const axis = { label: 'a < b & "c"', domain: [0, 1] as const }
  const marks = [
    {
      kind: 'line',
      points: [
        { x: 0, y: 0.01 },
        { x: 1, y: 0.5 },
      ],
      colour: '#000',
    },
    { kind: 'dot', at: { x: 0.5, y: 0.1 }, colour: '#000', title: '<script>' },
    { kind: 'rule', y: 0.2, colour: '#000', label: 'limit' },
    { kind: 'band', from: 0, to: 0.3, colour: '#eee', label: 'learned' },
    { kind: 'text', at: { x: 0.1, y: 0.1 }, text: 'here' },
  ] as const
  const svg = plot({ title: 'test', x: axis, y: { ...axis, domain: [0.01, 0.9], scale: 'log' }, marks })
  assert.match(svg, /^<svg [^>]*aria-label="test".*<\/svg>$/)
  assert.match(svg, /a &lt; b &amp; &quot;c&quot;/)
  assert.doesNotMatch(svg, /<script>|NaN|Infinity|undefined/)
  const ticks = [...svg.matchAll(/class="tick"[^>]*>([^<]*)</g)].map(match => match[1])
  assert.deepEqual(ticks, ['0', '0.2', '0.4', '0.6', '0.8', '1', '0.01', '0.02', '0.05', '0.1', '0.2', '0.5'])
})

test('a point commissioned on 20 s of the real second rig finds every fault within 1 s', {
  skip: missingData('uestc'),
}, async () => {
  const results = await commissioningResults((await openUestc(dataDirectory, 20_000))!)
  assert.deepEqual(
    results.map(({ speed }) => speed),
    ['800 rpm', '1200 rpm'],
  )
  for (const { speed, state, rest, faults } of results) {
    assert.equal(state.phase, 'ready')
    assert.equal(rest.windows, 0, speed)
    assert.ok(rest.of > 380)
    for (const { class: name, worstDelaySeconds } of faults) assert.ok(worstDelaySeconds! <= 1, `${speed}, ${name}`)
  }
})
