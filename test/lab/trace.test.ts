import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { policyNames } from '@faultline/inference'
import fc from 'fast-check'
import { BEST_FIXED, evaluateTrace, shuffled } from '../../lab/trace/evaluation.ts'
import { meanOf, studentT } from '../../lab/trace/interval.ts'
import { below, bestFixedThreshold, COURSE_POINTS, tally } from '../../lab/trace/replay.ts'
import { traceReport } from '../../lab/trace/report.ts'
import { isLocalRight, parseTrace, type TraceRow } from '../../lab/trace/trace.ts'
import { withCode } from '../inference/bundles.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { csvOf, syntheticTrace } from './traces.ts'

const near = (actual: number, expected: number, tolerance = 1e-9) =>
  assert.ok(Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`)

test('a trace is read whatever the order of its columns, its line ends and its quotes', () => {
  const trace = parseTrace('\uFEFF"p1","p0",truth,machine\r\n0.25,0.75,0,press\r\n1.000001,0,1,lathe\r\n\r\n', 'shop')
  assert.deepEqual(trace.classes, ['0', '1'])
  assert.equal(trace.hasRemote, false)
  assert.deepEqual(
    trace.rows.map(({ local, truth, remote }) => [local.label, local.probabilities, truth, remote]),
    [
      ['0', [0.75, 0.25], 0, 0],
      ['1', [0, 1], 1, 1],
    ],
  )
})

test('the answers of a server are taken from a column where there is one', () => {
  const { rows, hasRemote } = parseTrace('truth,remote,p0,p1\n0,1,0.9,0.1\n', 'x')
  assert.ok(hasRemote)
  assert.equal(rows[0]!.remote, 1)
})

test('what is wrong with a trace is said, with its line', () => {
  const wrong: [string, RegExp][] = [
    ['', /"truth"/],
    ['p0,p1\n0.5,0.5\n', /"truth"/],
    ['truth,p1,p2\n1,0.5,0.5\n', /"p0"/],
    ['truth,p0\n0,1\n', /two classes/],
    ['truth,p0,p1\n', /no window/],
    ['truth,p0,p1\n0,0.5,0.5\n0,0.5\n', /line 3.*"p1" is empty/],
    ['truth,p0,p1\n0,half,0.5\n', /line 2.*"p0" is "half"/],
    ['truth,p0,p1\n0,NaN,0.5\n', /line 2.*"p0"/],
    ['truth,p0,p1\n2,0.5,0.5\n', /line 2.*"truth" is 2.*0 to 1/],
    ['truth,p0,p1\n0.5,0.5,0.5\n', /line 2.*"truth"/],
    ['truth,remote,p0,p1\n1,-1,0.5,0.5\n', /line 2.*"remote"/],
    ['truth,p0,p1\n1,3.2,-1.1\n', /line 2.*sum of 1/],
    ['truth,p0,p1\n1,0.4,0.4\n', /line 2.*sum of 1/],
  ]
  for (const [text, words] of wrong) assert.throws(() => parseTrace(text, 'x'), withCode('TRACE_INVALID', words), text)
})

const row = fc
  .record({
    top: fc.integer({ min: 5, max: 10 }),
    truth: fc.integer({ min: 0, max: 1 }),
    remote: fc.integer({ min: 0, max: 1 }),
  })
  .map(
    ({ top, truth, remote }) =>
      parseTrace(`truth,remote,p0,p1\n${truth},${remote},${top / 10},${1 - top / 10}`, 'x').rows[0]!,
  )

test('the best fixed threshold costs no more than any other, with a server that errs, too', () => {
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 30 }), fc.integer({ min: 0, max: 10 }), (rows, tenths) => {
      const price = tenths / 10
      const cost = (threshold: number) => tally(rows, price, below(threshold)).cost
      const best = cost(bestFixedThreshold(rows, price))
      for (const threshold of [0, 0.55, 0.65, 0.75, 0.85, 0.95, Number.POSITIVE_INFINITY])
        assert.ok(best <= cost(threshold) + 1e-9, `${best} > ${cost(threshold)} at ${threshold}`)
    }),
    { numRuns: 500, seed: 1 },
  )
})

test('costs are wrong final answers and the price of every escalation', () => {
  const { rows } = parseTrace('truth,remote,p0,p1\n0,0,0.9,0.1\n1,1,0.9,0.1\n1,1,0.6,0.4\n0,1,0.6,0.4\n', 'x')
  const { cost, escalated, accuracy } = tally(rows, 0.2, below(0.7))
  // One accepted wrongly, two escalated, one of them answered wrongly.
  near(cost, (1 + 2 * 0.2 + 1) / 4)
  assert.equal(escalated, 0.5)
  assert.equal(accuracy, 0.5)
})

test('the course of costs ends with all of them, however few windows there are', () => {
  for (const count of [1, 7, 50, 333]) {
    const rows: TraceRow[] = syntheticTrace({ windows: count }).rows.slice()
    const { cost, course } = tally(rows, 0.2, below(0.9))
    assert.equal(course.length, COURSE_POINTS)
    near(course.at(-1)!, cost * count)
    for (const [i, value] of course.entries()) assert.ok(i === 0 || value >= course[i - 1]!)
  }
})

test('shuffles move everything and lose nothing, and the same seed shuffles the same', () => {
  const items = Array.from({ length: 100 }, (_, i) => i)
  assert.deepEqual(shuffled(items, 3), shuffled(items, 3))
  assert.notDeepEqual(shuffled(items, 3), shuffled(items, 4))
  assert.deepEqual(
    shuffled(items, 3).sort((a, b) => a - b),
    items,
  )
})

test('means come with the interval of Student', () => {
  // Tables: 4.303, 2.571, 2.093, 1.984.
  for (const [freedom, expected] of [
    [2, 4.303],
    [5, 2.571],
    [19, 2.093],
    [100, 1.984],
  ] as const)
    near(studentT(freedom), expected, 2e-3)
  const { value, low, high } = meanOf([1, 2, 3])
  assert.equal(value, 2)
  near(high! - 2, 4.303 / Math.sqrt(3), 1e-3)
  near(2 - low!, high! - 2)
  assert.deepEqual(meanOf([5]), { value: 5, low: null, high: null })
})

const trace = syntheticTrace()
const options = { policies: [...policyNames], prices: [0.1, 0.3], seeds: 2, calibrate: 0.1, normal: '0' }

test('every policy is replayed at every price, beside the best fixed threshold', async () => {
  const seen: number[] = []
  const { figures } = await evaluateTrace(trace, { ...options, onProgress: done => seen.push(done) })
  assert.deepEqual(
    figures.map(({ policy, price }) => `${policy} ${price}`),
    options.prices.flatMap(price => [...policyNames, BEST_FIXED].map(name => `${name} ${price}`)),
  )
  assert.deepEqual(
    seen,
    Array.from({ length: policyNames.length * 4 }, (_, i) => i + 1),
  )
  const of = (policy: string, price: number) => figures.find(row => row.policy === policy && row.price === price)!
  for (const price of options.prices) {
    assert.equal(of('never', price).escalated.value, 0)
    assert.equal(of('always', price).accuracy.value, 1)
    near(of('always', price).cost.value, price)
    near(of('never', price).cost.value, 1 - of('never', price).accuracy.value)
    assert.equal(of(BEST_FIXED, price).regret.value, 0)
    assert.ok(of('threshold', price).regret.value >= 0)
    for (const { cost, regret } of [of('hil-f', price), of('default', price)])
      near(cost.value - of(BEST_FIXED, price).cost.value, regret.value)
    assert.ok(of('default', price).ratio! < 1.1, String(of('default', price).ratio))
  }
})

test('the same seeds give the same figures', async () => {
  const few = { ...options, policies: ['default', 'hil-n'], prices: [0.2] }
  assert.deepEqual(await evaluateTrace(trace, few), await evaluateTrace(trace, few))
})

test('kept in order, windows are seen as they came', async () => {
  const windows = [...trace.rows].sort((a, b) => a.local.confidence - b.local.confidence)
  const sorted = { ...trace, rows: windows }
  const run = (inOrder: boolean) =>
    evaluateTrace(sorted, { ...options, policies: ['never'], prices: [0.2], calibrate: 0.5, inOrder })
  const [kept, mixed] = [await run(true), await run(false)]
  const wrong = windows.slice(windows.length / 2).filter(row => !isLocalRight(row)).length / (windows.length / 2)
  near(kept.figures[0]!.cost.value, wrong)
  assert.ok(mixed.figures[0]!.cost.value > wrong)
})

test('the report shows every policy and asks for nothing from outside', async () => {
  const html = traceReport(await evaluateTrace({ ...trace, name: '<shop>' }, options))
  for (const name of [...policyNames, BEST_FIXED]) assert.ok(html.includes(`<td>${name}</td>`), name)
  assert.ok(html.includes('&lt;shop&gt;') && !html.includes('<shop>'))
  assert.doesNotMatch(html, /https?:|<script|NaN|Infinity|undefined/)
})

test('the command prints a table and writes figures and report', async t => {
  const directory = await temporaryDirectory(t)
  const [file, json, html] = ['trace.csv', 'figures.json', 'report.html'].map(name => join(directory, name))
  await writeFile(file!, csvOf(syntheticTrace({ windows: 600 })))
  const args = [
    'trace',
    file!,
    '--price',
    '0.1,0.3',
    '--seeds',
    '3',
    '--calibrate',
    '0.1',
    '--json',
    json!,
    '--html',
    html!,
  ]
  const { code, stdout, stderr } = await runCommand('lab/evaluate.ts', args)
  assert.equal(code, 0, stderr)
  assert.match(stdout, /600 windows of 3 classes/)
  assert.match(stdout, /^default +0\.\d{4} \(0\.\d{4} to 0\.\d{4}\)/m)
  assert.match(stderr, /replaying trace/)
  const { rows } = JSON.parse(await readFile(json!, 'utf8')) as { rows: Record<string, unknown>[] }
  assert.equal(rows.length, 2 * (policyNames.length + 1))
  for (const name of ['default', 'never', 'always', BEST_FIXED, ...policyNames])
    for (const price of [0.1, 0.3]) {
      const row = rows.find(row => row.policy === name && row.price === price)
      for (const key of ['cost', 'escalated', 'accuracy', 'regret']) assert.equal(typeof row?.[key], 'number', name)
    }
  assert.match(await readFile(html!, 'utf8'), /<svg/)
})

test('one policy alone is shown beside the default, never, always and the best fixed threshold', async t => {
  const directory = await temporaryDirectory(t)
  const [file, json] = [join(directory, 'trace.csv'), join(directory, 'figures.json')]
  await writeFile(file, csvOf(syntheticTrace({ windows: 200 })))
  const args = ['trace', file, '--policy', 'threshold', '--price', '0.2', '--seeds', '1', '--json', json]
  const { code, stderr } = await runCommand('lab/evaluate.ts', args)
  assert.equal(code, 0, stderr)
  const { rows } = JSON.parse(await readFile(json, 'utf8')) as { rows: { policy: string }[] }
  assert.deepEqual(
    rows.map(({ policy }) => policy),
    ['threshold', 'default', 'never', 'always', BEST_FIXED],
  )
})

test('a mistake on the command line or in the file ends in one line', async t => {
  const directory = await temporaryDirectory(t)
  const [good, bad] = [join(directory, 'good.csv'), join(directory, 'bad.csv')]
  await writeFile(good, 'truth,p0,p1\n0,0.9,0.1\n')
  await writeFile(bad, 'truth,p0,p1\n0,0.9,0.3\n')
  const mistakes: [string[], RegExp][] = [
    [[bad], /^error TRACE_INVALID: bad: line 2/],
    [[join(directory, 'none.csv')], /^error RECORDING_UNREADABLE/],
    [[good, '--policy', 'sometimes'], /^error POLICY_UNKNOWN: .*"sometimes"/],
    [[good, '--price', '0.1,2'], /--price.*0 to 1/],
    [[good, '--calibrate', '1'], /--calibrate/],
    [[good, '--calibrate', '0.9'], /^error CONFIG_INVALID: .*leaves none/],
    [[good, '--normal', '7'], /^error CONFIG_INVALID: --normal 7/],
    [[good, '--seeds', '0'], /--seeds/],
    [[], /file/],
  ]
  for (const [args, words] of mistakes) {
    const { code, stdout, stderr } = await runCommand('lab/evaluate.ts', ['trace', ...args])
    assert.notEqual(code, 0)
    assert.equal(stdout, '')
    assert.match(stderr, words)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  }
})
