import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import type { TelemetryStore } from '@faultline/telemetry'
import { figuresOf } from '../../lab/replay/figures.ts'
import { shareInterval } from '../../lab/replay/proportion.ts'
import { RECORDED, type ReplayOptions, replayHistory } from '../../lab/replay/replay.ts'
import { pointOf } from '../../telemetry/measurements.ts'
import type { TelemetryPoint } from '../../telemetry/point.ts'
import { InfluxStore } from '../../telemetry/stores/influx.ts'
import { SqliteStore } from '../../telemetry/stores/sqlite.ts'
import { withCode } from '../inference/bundles.ts'
import { runCommand } from '../support/command.ts'
import { startInfluxd } from '../support/influxd.ts'
import { missing } from '../support/programs.ts'
import { temporaryDirectory } from '../support/temp.ts'
import { forever, inference, inferencePoint, iso, messageOf, noon, samples } from '../telemetry/messages.ts'
import { pointsOf, type Recorded, recordedWindows } from './history.ts'

const near = (actual: number | null, expected: number, tolerance = 1e-9) =>
  assert.ok(actual !== null && Math.abs(actual - expected) <= tolerance, `${actual} is not ${expected}`)

async function storeWith(
  t: TestContext,
  points: readonly TelemetryPoint[],
  path = ':memory:',
): Promise<TelemetryStore> {
  const store = new SqliteStore({ path, retention: forever })
  t.after(() => store.stop())
  await store.start()
  await store.write(points)
  return store
}

const policies = (...names: string[]) => names.map(name => ({ name, title: name }))
const range = { since: noon, until: noon + 3_600_000, normal: 'normal', seed: 1 }

async function replay(store: TelemetryStore, options: Partial<ReplayOptions> & Pick<ReplayOptions, 'policies'>) {
  const result = await replayHistory(store, { ...range, ...options })
  const figures = figuresOf(result)
  const of = (policy: string, machine: string | null = null) =>
    figures.find(row => row.policy === policy && row.machine === machine)!
  return { ...result, figures, of }
}

const wrong = (windows: readonly Recorded[]) =>
  windows.filter(({ inference, truth }) => inference.local.label !== truth).length

test('the exact interval is that of the tables, also for broken numbers and for none', () => {
  // Clopper and Pearson for 0 of 10, 3 of 10, 10 of 10: Hollander & Wolfe, and the rule 1 - 0.025^(1/n).
  const { low, high } = shareInterval(3, 10)
  near(low, 0.0667, 1e-4)
  near(high, 0.6525, 1e-4)
  near(shareInterval(0, 10).high, 1 - 0.025 ** 0.1, 1e-9)
  near(shareInterval(10, 10).low, 0.025 ** 0.1, 1e-9)
  assert.deepEqual(shareInterval(0, 0), { low: 0, high: 1 })
  near(shareInterval(0, 1e6).high, 1 - 0.025 ** 1e-6, 1e-12)
  const broken = shareInterval(2.5, 9.5)
  assert.ok(shareInterval(2, 9.5).low < broken.low && broken.high < shareInterval(3, 9.5).high)
  // I_x(a, b) has a closed form for whole numbers.
})

test('what was really done is what the store says, with what the audits stand for', async t => {
  const windows = recordedWindows()
  const { of } = await replay(await storeWith(t, pointsOf(windows)), { policies: policies('always') })
  const recorded = of(RECORDED)
  const sent = windows.filter(({ inference }) => inference.outcome === 'answered')
  assert.equal(recorded.windows, windows.length)
  assert.equal(recorded.sent, sent.length)
  assert.equal(
    recorded.bytes,
    sent.reduce((sum, { inference }) => sum + inference.escalationBytes!, 0),
  )
  assert.equal(recorded.audits, sent.filter(({ inference }) => inference.reason === 'audit').length)
  const missed = wrong(windows.filter(({ inference }) => inference.outcome === 'accepted'))
  assert.ok(recorded.missed.low <= missed && missed <= recorded.missed.high, JSON.stringify(recorded.missed))
  near(recorded.cost.value, recorded.wrong.value! + 0.25 * sent.length)
  const all = of('always')
  assert.deepEqual(
    [all.sent, all.missed, all.wrong.high, all.costPerWindow.value],
    [windows.length, { value: 0, low: 0, high: 0 }, 0, 0.25],
  )
})

test('the interval of a policy that keeps more windows holds the truth about 95 times in 100', async t => {
  let hits = 0
  for (let seed = 1; seed <= 25; seed++) {
    const windows = recordedWindows({ windows: 250, auditRate: 0.2, seed })
    const { of } = await replay(await storeWith(t, pointsOf(windows)), { policies: policies('never') })
    const { low, high } = of('never').missed
    if (low <= wrong(windows) && wrong(windows) <= high) hits++
  }
  assert.ok(hits >= 22, `${hits} of 25`)
})

test('verdicts on record are known, so a lower threshold is judged by them and a higher one only pays', async t => {
  const windows = recordedWindows({ auditRate: 1 })
  const store = await storeWith(t, pointsOf(windows))
  const at = (threshold: number) => ({ name: 'threshold', title: `at ${threshold}`, parameters: { threshold } })
  const { of } = await replay(store, { policies: [at(0.6), at(0.95)] })
  for (const threshold of [0.6, 0.95]) {
    const kept = windows.filter(({ inference }) => inference.local.confidence! >= threshold)
    const { sent, missed, cost } = of(`at ${threshold}`)
    // Everything was audited, so nothing has to be estimated.
    assert.deepEqual(missed, { value: wrong(kept), low: wrong(kept), high: wrong(kept) })
    assert.equal(sent, windows.length - kept.length)
    near(cost.value, wrong(kept) + 0.25 * sent)
  }
})

test('audits at different rates stand for as many windows as they were drawn from', async t => {
  // The same machine, first rarely audited, then often and with none but wrong answers.
  const window = (index: number, auditRate: number, audited: boolean, truth: string) =>
    inferencePoint(
      inference({
        id: `w${index}`,
        at: iso(noon + index),
        reason: audited ? 'audit' : 'confident',
        outcome: audited ? 'answered' : 'accepted',
        numbers: { score: 0.9, price: 0.2, auditRate },
        ...(audited && { server: { ...samples.inference.server!, label: truth } }),
      }),
    )
  const points = [
    ...Array.from({ length: 100 }, (_, i) => window(i, 0.1, i % 10 === 0, 'normal')),
    ...Array.from({ length: 100 }, (_, i) => window(100 + i, 0.5, i % 2 === 0, 'ball')),
  ]
  const { of } = await replay(await storeWith(t, points), { policies: policies('never') })
  // Half of the weight is on each side, so half of the 140 unaudited windows count, besides the 50 that are known.
  near(of('never').missed.value, 50 + 140 / 2)
  near(of(RECORDED).missed.value, 140 / 2)
})

test('without audits of the like nothing is guessed: no estimate, and bounds from none to all', async t => {
  const windows = recordedWindows({ auditRate: 0, windows: 300 })
  const { of } = await replay(await storeWith(t, pointsOf(windows)), { policies: policies('never') })
  const accepted = windows.filter(({ inference }) => inference.outcome === 'accepted')
  const known = wrong(windows) - wrong(accepted)
  const { missed, unknowable } = of('never')
  assert.deepEqual([missed.low, missed.high], [known, known + accepted.length])
  assert.equal(unknowable, accepted.length)
  assert.equal(of(RECORDED).audits, 0)
})

test('an audited machine says nothing about one that is not', async t => {
  const audited = recordedWindows({ windows: 300, auditRate: 0.5, machine: 'press-3' })
  const silent = recordedWindows({ windows: 200, auditRate: 0, machine: 'fan-1', seed: 2, begin: noon + 1_000 })
  const store = await storeWith(t, pointsOf([...audited, ...silent]))
  const { of, rows } = await replay(store, { policies: policies('never') })
  const accepted = silent.filter(({ inference }) => inference.outcome === 'accepted').length
  assert.equal(of('never').windows, 500)
  assert.equal(of('never', 'press-3').unknowable, 0)
  assert.equal(of('never', 'fan-1').unknowable, accepted)
  near(of('never').missed.high - of('never', 'press-3').missed.high - of('never', 'fan-1').missed.high, 0, 1e-6)
  assert.deepEqual([...new Set(rows.map(({ machine }) => machine?.machine))], [undefined, 'fan-1', 'press-3'])
})

test('escalations that nobody answered stay unanswered, and those that could not be sent are sent by nobody', async t => {
  const windows = recordedWindows({ windows: 400, auditRate: 0, arrives: index => index % 2 === 0 })
  const lost = windows.filter(({ inference }) => inference.outcome === 'late')
  const unsendable = lost.slice(0, 20)
  for (const [i, { inference }] of unsendable.entries()) inference.outcome = i % 2 ? 'offline' : 'withheld'
  const { of } = await replay(await storeWith(t, pointsOf(windows)), { policies: policies('always') })
  const { sent, unknowable, wrong: wrongly, unheard } = of('always')
  assert.equal(sent, windows.length - unsendable.length)
  assert.equal(unknowable, lost.length)
  assert.deepEqual([wrongly.low, wrongly.high], [0, lost.length])
  assert.equal(unheard, windows.filter(({ inference }) => !inference.server).length)
})

test('a verdict that came late counts as one that came in time', async t => {
  const late = { decidedBy: 'local-fallback', outcome: 'late', reason: 'below-threshold' } as const
  const store = await storeWith(t, [
    inferencePoint({ ...late, id: 'a', numbers: { price: 0.2 } }),
    inferencePoint({
      ...late,
      id: 'b',
      revises: 'a',
      decidedBy: 'server',
      label: 'ball',
      numbers: { price: 0.2 },
      server: samples.inference.server,
    }),
  ])
  const { of } = await replay(store, { policies: policies('never', 'always') })
  assert.equal(of(RECORDED).windows, 1)
  assert.deepEqual(of('never').missed, { value: 1, low: 1, high: 1 })
  assert.deepEqual(of('always').wrong, { value: 0, low: 0, high: 0 })
})

test('model output that was invalid is escalated by every policy, and is never counted as normal', async t => {
  const local = { ...inference().local, label: 'unknown', confidence: null }
  const points = ['answered', 'late'].map((outcome, i) =>
    inferencePoint({
      at: iso(noon + i),
      outcome: outcome as 'answered' | 'late',
      decidedBy: outcome === 'answered' ? 'server' : 'local-fallback',
      label: outcome === 'answered' ? 'ball' : 'unknown',
      reason: 'invalid-output',
      confidence: null,
      numbers: { price: 0.2 },
      local,
      ...(outcome === 'answered' && { server: samples.inference.server }),
    }),
  )
  const { of } = await replay(await storeWith(t, points), { policies: policies('never', 'default') })
  for (const policy of ['never', 'default', RECORDED]) {
    assert.equal(of(policy).sent, 2, policy)
    assert.deepEqual(of(policy).wrong, { value: 1, low: 1, high: 1 }, policy)
    assert.deepEqual(of(policy).missed, { value: 0, low: 0, high: 0 }, policy)
  }
})

test('a policy learns from the verdicts on record, per device, and other prices can be asked for', async t => {
  const windows = recordedWindows({ auditRate: 1, windows: 3_000 })
  const store = await storeWith(t, pointsOf(windows))
  const { figures } = await replay(store, { policies: policies('default', 'hi-lcb'), prices: [0.05, 0.3] })
  const cost = (policy: string, price: number) =>
    figures.find(row => row.policy === policy && row.price === price && row.machine === null)!
  for (const policy of ['default', 'hi-lcb']) {
    assert.equal(cost(policy, 0.05).unheard, 0)
    assert.ok(cost(policy, 0.05).share > cost(policy, 0.3).share, policy)
  }
  assert.ok(cost('default', 0.3).costPerWindow.value! < cost(RECORDED, 0.3).costPerWindow.value!)
})

test('what is not on record is said with a code', async t => {
  const bare = (changes = {}) => inferencePoint({ numbers: { price: 0.2 }, ...changes })
  const store = await storeWith(t, [bare(), inferencePoint({ machine: 'fan-1', numbers: {} }, { device: 'fan-1' })])
  const ask = (options: Partial<ReplayOptions>, names: string[]) =>
    replay(store, { machine: 'press-3', ...options, policies: policies(...names) })
  await assert.rejects(ask({ machine: 'none' }, ['never']), withCode('TELEMETRY_EMPTY'))
  await assert.rejects(ask({}, ['default']), withCode('TELEMETRY_INCOMPLETE', /press-3.*probabilities.*default/))
  assert.equal((await ask({}, ['never', 'threshold', 'hi-lcb'])).windows, 1)
  await assert.rejects(ask({ machine: 'fan-1' }, ['never']), withCode('TELEMETRY_INCOMPLETE', /price/))
  assert.equal((await ask({ machine: 'fan-1', prices: [0.2] }, ['never'])).windows, 1)
  await assert.rejects(ask({}, ['hil-f']), withCode('CONFIG_INVALID', /truth of every window/))
  await assert.rejects(ask({}, ['sometimes']), withCode('POLICY_UNKNOWN'))
})

test('a machine known by summaries alone is left out and named; with no other there is nothing to replay', async t => {
  const summary = pointOf(messageOf('summary', { ...samples.summary, to: iso(noon + 5) }, { device: 'press-3' }), noon)!
  const store = await storeWith(t, [...pointsOf(recordedWindows({ windows: 50 })), summary])
  await assert.rejects(replay(store, { policies: policies('never') }), withCode('TELEMETRY_INCOMPLETE', /exception/))
  await store.write(pointsOf(recordedWindows({ windows: 40, machine: 'fan-1' })))
  const { windows, summarised } = await replay(store, { policies: policies('never') })
  assert.equal(windows, 40)
  assert.deepEqual(
    summarised.map(({ machine }) => machine),
    ['press-3'],
  )
})

test('InfluxDB gives the same figures as SQLite', { skip: missing('influxd') }, async t => {
  const points = pointsOf([
    ...recordedWindows({ windows: 3_000 }),
    ...recordedWindows({ windows: 3_000, machine: 'fan-1' }),
  ])
  const influxd = await startInfluxd(t)
  const influx = new InfluxStore({ url: influxd.url, retention: forever })
  await influx.start()
  for (let i = 0; i < points.length; i += 3_000) await influx.write(points.slice(i, i + 3_000))
  const sqlite = await storeWith(t, points)
  const options = { policies: policies('never', 'default', 'hi-lcb', 'hil-n') }
  assert.deepEqual((await replay(influx, options)).figures, (await replay(sqlite, options)).figures)
})

test('the command prints a table for all machines and for each, and writes the figures', async t => {
  const directory = await temporaryDirectory(t)
  const begin = Date.now() - 600_000
  const points = pointsOf([
    ...recordedWindows({ windows: 200, begin }),
    ...recordedWindows({ windows: 200, begin, machine: 'fan-1' }),
  ])
  await (await storeWith(t, points, join(directory, 'telemetry.db'))).stop()
  const json = join(directory, 'figures.json')
  const args = ['--store', directory, '--since', '1h', '--policy', 'never,threshold:threshold=0.9', '--json', json]
  const { code, stdout, stderr } = await runCommand('lab/evaluate.ts', ['replay', ...args])
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^All machines, .*: 400 windows$/m)
  assert.match(stdout, /^plant-a fan-1: 200 windows$/m)
  assert.match(stdout, /^threshold:threshold=0.9 +recorded +\d+ +\d/m)
  assert.match(stderr, /replaying/)
  const { rows } = JSON.parse(await readFile(json, 'utf8')) as { rows: Record<string, unknown>[] }
  assert.equal(rows.length, 3 * 3)
  for (const row of rows) assert.equal(typeof (row.missed as { high: unknown }).high, 'number')
})

test('a mistake on the command line ends in one line with its code', async t => {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'telemetry.db')
  await (await storeWith(t, [], file)).stop()
  const mistakes: [string[], RegExp][] = [
    [['--store', join(directory, 'none.db')], /^error STORE_NOT_FOUND: .*none\.db/],
    [['--store', file, '--since', '1d'], /^error TELEMETRY_EMPTY/],
    [['--store', file, '--since', '2026-01-02', '--until', '2026-01-01'], /^error CONFIG_INVALID: --until/],
    [['--store', 'http://127.0.0.1:1'], /^error STORE_FAILED/],
  ]
  for (const [args, words] of mistakes) {
    const { code, stdout, stderr } = await runCommand('lab/evaluate.ts', ['replay', ...args])
    assert.notEqual(code, 0)
    assert.equal(stdout, '')
    assert.match(stderr, words)
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  }
})
