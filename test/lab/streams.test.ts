import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AlarmRule, defaultAlarmRule } from '@faultline/flows'
import { Calibration } from '@faultline/inference'
import type { Inference } from '@faultline/protocol'
import fc from 'fast-check'
import { AlarmVotes } from '../../lab/evaluation/alarm-votes.ts'
import { classes, type FoldAnswers } from '../../lab/evaluation/answers.ts'
import { type StreamMethod, streamRowsOf } from '../../lab/evaluation/streams.ts'
import { bearingSignal } from '../../lab/training/bearing-models.ts'

const windowSeconds = bearingSignal.samples / bearingSignal.rateHz
const [NORMAL, BALL, INNER] = [0, 1, 2]

/** Answers at 0.95 are right, those at 0.6 are wrong. */
const correctness = Calibration.fit(
  Array.from({ length: 600 }, (_, i) => {
    const p = i % 2 === 0 ? 0.95 : 0.6
    const best = Math.floor(i / 2) % classes.length
    const probabilities = classes.map((_, k) => (k === best ? p : (1 - p) / (classes.length - 1)))
    return { probabilities, right: p === 0.95 }
  }),
  { classes: classes.length },
).model

/** A fold whose windows are `[truth, device's class, its probability, server's class]`, in runs of one truth. */
function foldOf(windows: readonly (readonly [number, number, number, number])[], change: Partial<FoldAnswers> = {}) {
  const row = (best: number, p: number) => classes.map((_, i) => (i === best ? p : (1 - p) / (classes.length - 1)))
  const fold: FoldAnswers = {
    split: 'split',
    fold: 'one',
    models: 'shipped',
    labels: Uint8Array.from(windows, ([truth]) => truth),
    runs: windows.map(([truth]) => classes[truth]!),
    levels: new Float32Array(windows.length),
    local: Float32Array.from(windows.flatMap(([, best, p]) => row(best, p))),
    server: Float32Array.from(windows.flatMap(([, , , best]) => row(best, 0.97))),
    known: { calibration: correctness },
    scores: new Float32Array(windows.length),
    price: 0.2,
    threshold: 0.8,
    confidence: 0.8,
    rmsLimit: 1,
    ...change,
  }
  return fold
}

const times = <T>(count: number, window: T): T[] => Array.from({ length: count }, () => window)
const rowOf = (folds: FoldAnswers[], method: StreamMethod) => streamRowsOf(folds).find(row => row.method === method)!
const near = (actual: number | null, expected: number) =>
  assert.ok(Math.abs(actual! - expected) <= 1e-6 * expected, String(actual))

test('delays count from the onset: to the first faulty answer, and to four of six', () => {
  const fold = foldOf([
    ...times(20, [NORMAL, NORMAL, 0.95, NORMAL] as const),
    // The device misses two windows, then sees the fault.
    ...times(2, [BALL, NORMAL, 0.95, BALL] as const),
    ...times(10, [BALL, BALL, 0.95, BALL] as const),
  ])
  const local = rowOf([fold], 'local')
  near(local.firstWindow.median, 3 * windowSeconds)
  near(local.alarm.worst, 6 * windowSeconds)
  near(local.accuracy, 30 / 32)
  const server = rowOf([fold], 'server')
  near(server.firstWindow.worst, windowSeconds)
  near(server.alarm.median, 4 * windowSeconds)
  assert.deepEqual([server.escalated, server.alarm.never, server.nuisance.alarms], [1, 0, 0])
  near(server.nuisance.perDayAtMost, (2.9957322736 / (20 * windowSeconds)) * 86_400)
})

test('a fault that nobody names is never found, and a false alarm is counted once however many faults follow', () => {
  const fold = foldOf([
    ...times(6, [NORMAL, BALL, 0.95, BALL] as const),
    ...times(14, [NORMAL, NORMAL, 0.95, NORMAL] as const),
    ...times(9, [BALL, NORMAL, 0.95, NORMAL] as const),
    ...times(9, [INNER, INNER, 0.95, INNER] as const),
  ])
  const { streams, windows, nuisance, alarm, firstWindow } = rowOf([fold], 'local')
  assert.deepEqual([streams, windows, nuisance.alarms, nuisance.onAtOnset], [2, 38, 1, 0])
  assert.deepEqual([alarm.never, firstWindow.never], [1, 1])
  near(nuisance.perDay, 86_400 / (20 * windowSeconds))
})

test('a stretch that several models judged counts once, under the one that raises most', () => {
  const quiet = times(20, [NORMAL, NORMAL, 0.95, NORMAL] as const)
  const loud = times(20, [NORMAL, BALL, 0.95, NORMAL] as const)
  const fault = times(6, [BALL, BALL, 0.95, BALL] as const)
  const { nuisance, streams } = rowOf([foldOf([...quiet, ...fault]), foldOf([...loud, ...fault])], 'local')
  assert.deepEqual([streams, nuisance.alarms, nuisance.onAtOnset], [2, 1, 1])
  near(nuisance.seconds, 20 * windowSeconds)
})

test('episodes save questions about what stays as it is, and change no answer the server would have given', () => {
  const fold = foldOf([
    ...times(20, [NORMAL, NORMAL, 0.95, NORMAL] as const),
    ...times(40, [BALL, INNER, 0.6, BALL] as const),
  ])
  const plain = rowOf([fold], 'default')
  const episodes = rowOf([fold], 'default, episodes')
  assert.equal(plain.escalated, 40 / 60)
  assert.equal(episodes.escalated, 3 / 60)
  assert.deepEqual([episodes.accuracy, episodes.alarm], [plain.accuracy, plain.alarm])
})

test('folds without a normal run make no stream', () => {
  assert.deepEqual(streamRowsOf([foldOf(times(9, [BALL, BALL, 0.95, BALL] as const))]), [])
})

test('an alarm is on exactly when flows would have one', () => {
  const source = { site: 'plant-a', device: 'pi-1', point: 'motor-de' }
  const model = { name: 'local', version: '1', digest: 'sha256:0123456789ab' }
  const inference = (label: string, i: number): Inference => ({
    id: `w${i}`,
    at: new Date(i).toISOString(),
    machine: 'press-1',
    label,
    confidence: 0.9,
    decidedBy: 'local',
    outcome: 'accepted',
    reason: 'confident',
    local: { label, confidence: 0.9, model },
    latencyMs: 1,
    features: {},
  })
  const stretch = fc.tuple(fc.constantFrom('normal', 'ball', 'inner-race'), fc.integer({ min: 1, max: 14 }))
  fc.assert(
    fc.property(fc.array(stretch, { minLength: 1, maxLength: 12 }), stretches => {
      const rule = new AlarmRule(defaultAlarmRule)
      const votes = new AlarmVotes()
      const labels = stretches.flatMap(([label, count]) => times(count, label))
      for (const [i, label] of labels.entries()) {
        rule.observe(source, inference(label, i), new Date(i))
        votes.observe(label !== 'normal')
        const on = [...rule.alarms()].some(({ state }) => state === 'unacknowledged' || state === 'acknowledged')
        assert.equal(votes.active, on, labels.slice(0, i + 1).join())
      }
    }),
    { numRuns: 300 },
  )
})
