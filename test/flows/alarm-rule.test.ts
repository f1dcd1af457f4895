import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AlarmRule, type AlarmRuleOptions, defaultAlarmRule, faultName } from '@faultline/flows'
import { type Alarm, alarm as alarmSchema, type Inference, type Summary } from '@faultline/protocol'
import fc from 'fast-check'
import { inference } from './fixtures.ts'

const here = { site: 'plant-a', device: 'pi-1', point: 'motor-de' }
const there = { site: 'plant-a', device: 'pi-1', point: 'motor-nde' }
const noon = new Date('2026-01-01T12:00:00.000Z')

/** Feeds windows by their first letters: n normal, b ball, o outer-race, i inner-race. Returns `change fault` texts. */
function feed(rule: AlarmRule, letters: string, source = here, fields: Partial<Inference> = {}): string[] {
  const labels: Record<string, string> = { n: 'normal', b: 'ball', o: 'outer-race', i: 'inner-race' }
  return [...letters]
    .flatMap(letter => rule.observe(source, inference(labels[letter]!, fields), noon))
    .filter(({ change }) => change !== 'updated')
    .map(({ change, alarm }) => `${change} ${alarm.fault}`)
}

const pressBall = { site: 'plant-a', machine: 'press-1', fault: 'ball' }

/** Undefined when there is nothing to acknowledge. */
function acknowledge(rule: AlarmRule, name: typeof pressBall): Alarm | undefined {
  try {
    return rule.act({ action: 'acknowledge', ...name }, noon)[0]?.alarm
  } catch (error) {
    assert.match(String(error), /needs no acknowledgement/)
    return undefined
  }
}

const newRule = (options: Partial<AlarmRuleOptions> = {}) => new AlarmRule({ ...defaultAlarmRule, ...options })
const only = (rule: AlarmRule): Alarm => {
  const [alarm, ...others] = [...rule.alarms()]
  assert.ok(alarm)
  assert.deepEqual(others, [])
  return alarm
}

test('three faulty windows of six are not an alarm, the fourth is', () => {
  const rule = newRule()
  assert.deepEqual(feed(rule, 'bnbnb'), [])
  assert.deepEqual(feed(rule, 'b'), ['raised ball'])
})

test('four faulty windows that are not among six raise nothing', () => {
  assert.deepEqual(feed(newRule(), 'bnnbnnbnnbnnb'), [])
})

test('a raised alarm carries the windows that raised it, fits its schema and names when', () => {
  const rule = newRule()
  const windows = [inference('normal'), ...Array.from({ length: 4 }, () => inference('ball', { decidedBy: 'server' }))]
  const changes = windows.flatMap(window => rule.observe(here, window, noon))
  assert.equal(changes.length, 1)
  const { alarm } = changes[0]!
  assert.deepEqual(alarmSchema.parse(alarm), alarm)
  assert.deepEqual(
    { state: alarm.state, acknowledged: alarm.acknowledged, since: alarm.since, count: alarm.count },
    { state: 'unacknowledged', acknowledged: false, since: noon.toISOString(), count: 4 },
  )
  assert.deepEqual(
    alarm.evidence.map(({ id, device, point, label, decidedBy }) => ({ id, device, point, label, decidedBy })),
    windows.slice(1).map(({ id }) => ({ id, device: 'pi-1', point: 'motor-de', label: 'ball', decidedBy: 'server' })),
  )
})

test('what names no fault raises nothing, in windows or in summaries', () => {
  const rule = newRule()
  assert.deepEqual(feed(rule, 'bbbbbb', here, { faults: false }), [])
  const summary: Summary = {
    from: noon.toISOString(),
    to: noon.toISOString(),
    machine: inference('normal').machine,
    windows: 10,
    labels: { ball: 10 },
    outcomes: { accepted: 10 },
    features: {},
  }
  assert.deepEqual(rule.observeSummary(here, { ...summary, faults: false }, noon), [])
  assert.equal(rule.observeSummary(here, summary, noon)[0]?.change, 'raised')
})

test('further faulty windows count and raise nothing anew', () => {
  const rule = newRule()
  assert.deepEqual(feed(rule, 'bbbbbnbnb'), ['raised ball'])
  assert.equal(only(rule).count, 7)
})

test('nine normal windows of twelve hold an alarm, the tenth clears it', () => {
  const rule = newRule()
  feed(rule, 'bbbb')
  assert.deepEqual(feed(rule, 'nnnbnnnnbnn'), [])
  assert.deepEqual(feed(rule, 'n'), ['returned ball'])
  assert.equal(only(rule).state, 'returned-unacknowledged')
})

test('another fault clears nothing', () => {
  const rule = newRule()
  assert.deepEqual(feed(rule, `bbbb${'i'.repeat(40)}`), ['raised ball', 'raised inner-race'])
  assert.deepEqual(
    [...rule.alarms()].map(({ state }) => state),
    ['unacknowledged', 'unacknowledged'],
  )
  assert.deepEqual(feed(rule, 'n'.repeat(12)), ['returned ball', 'returned inner-race'])
})

test('an alarm that returned needs new evidence to come again, and counts anew', () => {
  const rule = newRule()
  feed(rule, 'bbbbb' + 'nnnnnnnnnn')
  assert.deepEqual(feed(rule, 'bbb'), [])
  assert.deepEqual(feed(rule, 'b'), ['raised ball'])
  assert.equal(only(rule).count, 4)
  assert.equal(only(rule).state, 'unacknowledged')
})

test('votes from before an alarm returned do not help to raise it again', () => {
  const rule = newRule()
  assert.deepEqual(feed(rule, 'bbbbnnnnnnnnbbnn'), ['raised ball', 'returned ball'])
  assert.deepEqual(feed(rule, 'bb'), [])
  assert.deepEqual(feed(rule, 'bb'), ['raised ball'])
})

test('acknowledged while active, an alarm goes back to normal at once when the fault goes', () => {
  const rule = newRule()
  feed(rule, 'bbbb')
  const name = { site: 'plant-a', machine: 'press-1', fault: 'ball' }
  assert.equal(acknowledge(rule, name)?.state, 'acknowledged')
  assert.equal(acknowledge(rule, name), undefined)
  assert.deepEqual(feed(rule, 'b'), [])
  assert.deepEqual(feed(rule, 'n'.repeat(10)), ['returned ball'])
  assert.equal(only(rule).state, 'normal')
})

test('a fault that went before anybody saw it waits for its acknowledgement', () => {
  const rule = newRule()
  feed(rule, `bbbb${'n'.repeat(10)}`)
  const name = { site: 'plant-a', machine: 'press-1', fault: 'ball' }
  assert.equal(only(rule).state, 'returned-unacknowledged')
  assert.equal(acknowledge(rule, name)?.state, 'normal')
  assert.equal(only(rule).acknowledged, true)
})

test('nothing to acknowledge: an unknown machine, an unknown fault', () => {
  const rule = newRule()
  feed(rule, 'bbbb')
  assert.equal(acknowledge(rule, { ...pressBall, machine: 'press-9' }), undefined)
  assert.equal(acknowledge(rule, { ...pressBall, fault: 'cage' }), undefined)
})

test('a record that alternates between two faults raises the one seen most', () => {
  const rule = newRule()
  assert.deepEqual(feed(rule, 'bnob'), [])
  assert.deepEqual(feed(rule, 'b'), ['raised ball'])
  const { evidence, count } = only(rule)
  assert.deepEqual(
    evidence.map(({ label }) => label),
    ['ball', 'outer-race', 'ball', 'ball'],
  )
  assert.equal(count, 3)
  assert.deepEqual(feed(newRule(), 'obob'), ['raised ball'], 'level votes: the one named last')
})

test('while one fault has an alarm, disagreement raises no second one', () => {
  const rule = newRule()
  feed(rule, 'bbbb')
  assert.deepEqual(feed(rule, 'noiboi'), [])
})

test('a second fault that reaches its own votes is a second alarm', () => {
  const rule = newRule()
  assert.deepEqual(feed(rule, 'bbbbiiii'), ['raised ball', 'raised inner-race'])
})

test('a healthy sensor cannot outvote the one that sits on the fault', () => {
  const rule = newRule()
  const changes: string[] = []
  for (let i = 0; i < 4; i++) changes.push(...feed(rule, 'nnn', there), ...feed(rule, 'b', here))
  assert.deepEqual(changes, ['raised ball'])
  assert.deepEqual(feed(rule, 'n'.repeat(40), there), [])
  assert.deepEqual(feed(rule, 'n'.repeat(10), here), ['returned ball'])
})

test('an alarm that two points hold clears when both are normal', () => {
  const rule = newRule()
  feed(rule, 'bbbb', here)
  feed(rule, 'bbbb', there)
  assert.equal(only(rule).count, 8)
  assert.deepEqual(feed(rule, 'n'.repeat(12), here), [])
  assert.deepEqual(feed(rule, 'n'.repeat(10), there), ['returned ball'])
})

test('machines, sites and faults do not mix', () => {
  const rule = newRule()
  feed(rule, 'bbb')
  assert.deepEqual(feed(rule, 'b', here, { machine: 'press-2' }), [])
  assert.deepEqual(feed(rule, 'b', { ...here, site: 'plant-b' }), [])
  assert.deepEqual(feed(rule, 'b'), ['raised ball'])
})

test('a thousand faulty windows of a machine are one alarm for each fault', () => {
  const rule = newRule()
  const changes = feed(rule, 'bbbbbiiiii'.repeat(100))
  assert.deepEqual(changes, ['raised ball', 'raised inner-race'])
  assert.deepEqual(
    [...rule.alarms()].map(({ count }) => count).reduce((a, b) => a + b),
    1_000,
  )
})

test('a window delivered twice votes once', () => {
  const rule = newRule()
  const window = inference('ball')
  for (let i = 0; i < 10; i++) assert.deepEqual(rule.observe(here, window, noon), [])
})

test('a revision takes the place of the vote for its window', () => {
  const rule = newRule()
  const wrong = inference('ball')
  rule.observe(here, wrong, noon)
  feed(rule, 'bb')
  rule.observe(here, inference('normal', { id: wrong.id, revises: wrong.id, decidedBy: 'server' }), noon)
  assert.deepEqual(feed(rule, 'b'), [])
  assert.deepEqual(feed(rule, 'b'), ['raised ball'])
})

test('a revision can complete the votes for an alarm', () => {
  const rule = newRule()
  const missed = inference('normal', { decidedBy: 'local-fallback', outcome: 'late' })
  feed(rule, 'bb')
  rule.observe(here, missed, noon)
  feed(rule, 'b')
  const changes = rule.observe(here, inference('ball', { revises: missed.id, decidedBy: 'server' }), noon)
  assert.deepEqual(
    changes.map(({ change }) => change),
    ['raised'],
  )
})

test('revising a window that raised an alarm corrects the count and does not make the alarm flap', () => {
  const rule = newRule()
  const windows = ['ball', 'ball', 'ball', 'ball'].map(label => inference(label))
  for (const window of windows) rule.observe(here, window, noon)
  const seen: string[] = []
  for (const { id } of windows.slice(0, 2)) {
    const changes = rule.observe(here, inference('normal', { revises: id, decidedBy: 'server' }), noon)
    seen.push(...changes.map(({ change }) => change))
  }
  assert.deepEqual(seen, ['updated', 'updated'])
  assert.equal(only(rule).state, 'unacknowledged')
  assert.equal(only(rule).count, 2)
})

test('a revision of a window long gone changes nothing', () => {
  const rule = newRule()
  const old = inference('normal')
  rule.observe(here, old, noon)
  feed(rule, `${'n'.repeat(12)}bbb`)
  assert.deepEqual(rule.observe(here, inference('ball', { revises: old.id }), noon), [])
})

test('a window without a valid answer has no vote, until a late verdict gives it one', () => {
  const rule = newRule()
  const lost = Array.from({ length: 5 }, () => inference('ball', { confidence: null }))
  for (const window of lost) assert.deepEqual(rule.observe(here, window, noon), [])
  const changes = lost.flatMap(({ id }) => rule.observe(here, inference('ball', { revises: id }), noon))
  assert.deepEqual(
    changes.map(({ change }) => change),
    ['raised', 'updated'],
  )
})

const summary = (labels: Record<string, number>): Summary => ({
  from: noon.toISOString(),
  to: noon.toISOString(),
  machine: 'press-1',
  windows: Object.values(labels).reduce((a, b) => a + b, 0),
  labels,
  outcomes: {},
  features: {},
})

test('a summary votes with its windows', () => {
  const rule = newRule()
  assert.deepEqual(rule.observeSummary(here, summary({ normal: 95, ball: 5 }), noon), [])
  // Windows nobody could classify are no fault.
  assert.deepEqual(rule.observeSummary(here, summary({ unknown: 60 }), noon), [])
  const raised = rule.observeSummary(here, summary({ ball: 60 }), noon)
  assert.deepEqual(
    raised.map(({ change, alarm }) => [change, alarm.count, alarm.evidence.length]),
    [['raised', 60, 0]],
  )
  const returned = rule.observeSummary(here, summary({ normal: 60, unknown: 30 }), noon)
  assert.deepEqual(
    returned.map(({ change }) => change),
    ['returned'],
  )
})

test('restored, an active alarm is not raised again, goes on counting and clears', () => {
  const before = newRule()
  feed(before, 'bbbbb')
  acknowledge(before, pressBall)
  const rule = newRule()
  rule.restore(only(before))
  assert.deepEqual(feed(rule, 'bbbbbb'), [])
  assert.equal(only(rule).count, 11)
  assert.equal(only(rule).state, 'acknowledged')
  assert.deepEqual(feed(rule, 'n'.repeat(12), there), [])
  assert.deepEqual(feed(rule, 'n'.repeat(10)), ['returned ball'])
  assert.equal(only(rule).state, 'normal')
})

/** The rule after a restart: it knows what the alarm's message says, no more. */
function restarted(before: AlarmRule, fields: Partial<Alarm> = {}): AlarmRule {
  const rule = newRule()
  const { points, ...alarm } = { ...only(before), ...fields }
  rule.restore(alarmSchema.parse(points ? { ...alarm, points } : alarm))
  return rule
}

test('an alarm names the points that hold it, as they come and go', () => {
  const rule = newRule()
  const points = () => only(rule).points?.map(({ device, point }) => `${device}/${point}`)
  feed(rule, 'bbbb', here)
  assert.deepEqual(points(), ['pi-1/motor-de'])
  feed(rule, 'b', there)
  assert.deepEqual(points(), ['pi-1/motor-de', 'pi-1/motor-nde'])
  const changes = Array.from({ length: 10 }, () => rule.observe(here, inference('normal'), noon)).flat()
  assert.deepEqual(
    changes.map(({ change, alarm }) => [change, alarm.points?.length]),
    [['updated', 1]],
  )
  assert.deepEqual(points(), ['pi-1/motor-nde'])
  feed(rule, 'n'.repeat(12), there)
  assert.deepEqual([only(rule).state, points()], ['returned-unacknowledged', []])
})

test('restored, an alarm that summaries raised is held by the point they came from', () => {
  const before = newRule()
  before.observeSummary(here, summary({ ball: 10 }), noon)
  assert.deepEqual(only(before).evidence, [])
  const rule = restarted(before)
  assert.deepEqual(feed(rule, 'n'.repeat(40), there), [])
  assert.deepEqual(feed(rule, 'n'.repeat(10), here), ['returned ball'])
})

test('restored, an alarm is held by every point that held it, not by those of its evidence alone', () => {
  const before = newRule()
  feed(before, 'bbbb', here)
  feed(before, 'bbbb', there)
  const rule = restarted(before)
  assert.deepEqual(feed(rule, 'n'.repeat(40), here), [])
  assert.deepEqual(feed(rule, 'n'.repeat(10), there), ['returned ball'])
})

test('restored, an alarm that names no point is held by every point heard since, until it is normal', () => {
  const before = newRule()
  before.observeSummary(here, summary({ ball: 10 }), noon)
  const rule = restarted(before, { points: undefined })
  assert.equal(only(rule).points, undefined)
  feed(rule, 'n', there)
  assert.deepEqual(feed(rule, 'i', here), [], 'not normal, though another fault')
  assert.deepEqual(feed(rule, 'n'.repeat(40), there), [])
  assert.deepEqual(feed(rule, 'bbb', there), [], 'it holds again')
  assert.deepEqual(feed(rule, 'n'.repeat(10), here), [])
  assert.deepEqual(feed(rule, 'n'.repeat(12), there), ['returned ball'])
  assert.deepEqual(only(rule).points, [])
})

test('an alarm cleared by hand is gone, and a new one takes new evidence', () => {
  const rule = newRule()
  feed(rule, 'bbbbb')
  assert.equal(rule.forget(only(rule)), true)
  assert.deepEqual([...rule.alarms()], [])
  assert.equal(rule.forget({ site: 'plant-a', machine: 'press-1', fault: 'ball' }), false)
  assert.equal(rule.forget({ site: 'plant-a', machine: 'press-9', fault: 'ball' }), false)
  assert.deepEqual(feed(rule, 'bbb'), [])
  assert.deepEqual(feed(rule, 'b'), ['raised ball'])
})

test('ten thousand machines are remembered: the one silent longest goes, one with an alarm stays', () => {
  const rule = newRule()
  const others = (from: number, count: number) => {
    for (let i = from; i < from + count; i++) feed(rule, 'n', here, { machine: `other-${i}` })
  }
  feed(rule, 'bbbb', here, { machine: 'alarmed' })
  feed(rule, 'bbb', here, { machine: 'silent' })
  feed(rule, 'bb', here, { machine: 'heard' })
  others(0, 5_000)
  feed(rule, 'b', here, { machine: 'heard' })
  others(5_000, 5_000)
  assert.deepEqual(feed(rule, 'b', here, { machine: 'silent' }), [], 'its three votes are forgotten')
  assert.deepEqual(feed(rule, 'b', here, { machine: 'heard' }), ['raised ball'])
  assert.deepEqual(feed(rule, 'bbbb', here, { machine: 'alarmed' }), [])
  assert.deepEqual(feed(rule, 'n'.repeat(12), here, { machine: 'alarmed' }), ['returned ball'])
})

test('names of points do not fill a machine up, and those that hold an alarm are not forgotten for them', () => {
  const rule = newRule()
  const others = () => {
    for (let i = 0; i < 300; i++) feed(rule, 'n', { ...here, point: `p-${i}` })
  }
  feed(rule, 'bbb', there)
  others()
  assert.deepEqual(feed(rule, 'b', there), [], 'its three votes are forgotten')
  feed(rule, 'bbbb', here)
  others()
  assert.deepEqual(feed(rule, 'n'.repeat(9), here), [])
  assert.deepEqual(feed(rule, 'n', here), ['returned ball'])
})

test('more points hold an alarm than it can name: it names none, and clears when all that are heard are normal', () => {
  const rule = newRule()
  feed(rule, 'bbbb', here)
  for (let i = 0; i < 300; i++) feed(rule, 'b', { ...here, point: `p-${i}` })
  assert.deepEqual(alarmSchema.parse(only(rule)), only(rule))
  assert.equal(only(rule).points, undefined)
  for (let i = 299; i > 44; i--) assert.deepEqual(feed(rule, 'n'.repeat(12), { ...here, point: `p-${i}` }), [])
  assert.deepEqual(feed(rule, 'n'.repeat(12), { ...here, point: 'p-44' }), ['returned ball'])
})

test('a machine has so many open alarms and no more; one that is over makes room', () => {
  const rule = newRule()
  const raise = (label: string) =>
    Array.from({ length: 4 }, () => rule.observe(here, inference(label), noon))
      .flat()
      .map(({ change }) => change)
      .includes('raised')
  const raised = Array.from({ length: 70 }, (_, i) => raise(`fault-${i}`))
  assert.deepEqual([raised.indexOf(false), raised.lastIndexOf(true)], [64, 63])
  feed(rule, 'n'.repeat(12))
  assert.equal(raise('another'), false, 'returned alarms wait for their acknowledgement')
  acknowledge(rule, { ...pressBall, fault: 'fault-5' })
  assert.equal(raise('another'), true)
  assert.equal([...rule.alarms()].length, 64)
})

test('restored, an alarm nobody has seen can still be acknowledged', () => {
  const before = newRule()
  feed(before, `bbbb${'n'.repeat(10)}`)
  const rule = newRule()
  rule.restore(only(before))
  assert.equal(acknowledge(rule, pressBall)?.state, 'normal')
})

test('a shelved alarm stays shelved, whatever the windows say', () => {
  const before = newRule()
  feed(before, 'bbbb')
  const rule = newRule()
  rule.restore({ ...only(before), state: 'shelved' })
  assert.deepEqual(feed(rule, 'b'.repeat(20) + 'n'.repeat(20)), [])
  assert.equal(only(rule).state, 'shelved')
})

test('the normal class can have another name', () => {
  const rule = newRule({ normal: 'healthy' })
  for (let i = 0; i < 20; i++) assert.deepEqual(rule.observe(here, inference('healthy'), noon), [])
  assert.deepEqual(feed(rule, 'nnnn'), ['raised normal'])
})

test('a class becomes the name of an alarm, or is refused', () => {
  assert.equal(faultName('Inner race (0.021")'), 'inner-race-0-021')
  assert.throws(() => faultName('?!'), { code: 'IDENTIFIER_INVALID' })
  assert.throws(() => newRule().observe(here, inference('***'), noon), { code: 'IDENTIFIER_INVALID' })
})

test('a rule that makes no sense is refused', () => {
  const refused = { code: 'CONFIG_INVALID' }
  const { on, off, notices } = defaultAlarmRule
  assert.throws(() => newRule({ on: { ...on, votes: 7 } }), refused)
  assert.throws(() => newRule({ on: { ...on, votes: Number.NaN } }), refused)
  assert.throws(() => newRule({ on: { ...on, confidence: 1.5 } }), refused)
  assert.throws(() => newRule({ off: { ...off, votes: 0 } }), refused)
  assert.throws(() => newRule({ off: { ...off, delayS: -1 } }), refused)
  assert.throws(() => newRule({ on: { ...on, votes: 1 } }), refused)
  assert.throws(() => newRule({ notices: { ...notices, repeatS: 0 } }), refused)
  assert.throws(() => newRule({ longestShelfS: 0 }), refused)
})

test('whatever the windows say, changes alternate: raised, returned, raised', () => {
  const letters = fc.array(fc.constantFrom('n', 'n', 'b', 'o'), { maxLength: 200 })
  fc.assert(
    fc.property(letters, sequence => {
      const rule = newRule()
      const state = new Map<string, string>()
      for (const change of feed(rule, sequence.join(''))) {
        const [kind, fault] = change.split(' ') as [string, string]
        assert.equal(kind, state.get(fault) === 'raised' ? 'returned' : 'raised')
        state.set(fault, kind)
      }
    }),
    { numRuns: 200 },
  )
})

test('a backlog that comes after what is now has no vote', () => {
  const rule = newRule()
  assert.deepEqual(feed(rule, 'bbbbbb', here, { backlog: true }), [])
  const summary = {
    from: noon.toISOString(),
    to: noon.toISOString(),
    machine: 'motor',
    windows: 50,
    labels: { ball: 50 },
  }
  assert.deepEqual(rule.observeSummary(here, { ...summary, outcomes: {}, features: {}, backlog: true }, noon), [])
  assert.deepEqual([...rule.alarms()], [])
})
