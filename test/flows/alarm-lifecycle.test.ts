import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type AlarmChange, AlarmRule, type AlarmRuleOptions, defaultAlarmRule } from '@faultline/flows'
import { type Alarm, alarm as alarmSchema, type Inference } from '@faultline/protocol'
import { inference } from './fixtures.ts'

const here = { site: 'plant-a', device: 'pi-1', point: 'motor-de' }
const name = { site: 'plant-a', machine: 'press-1', fault: 'ball' }
const noon = Date.UTC(2026, 0, 1, 12)
const at = (seconds: number): Date => new Date(noon + seconds * 1_000)
const { on, off } = defaultAlarmRule

/** A rule on a clock of the test's own. Whatever becomes due on the way is done, as a keeper does it. */
class Trial {
  readonly log: string[] = []
  readonly rule: AlarmRule
  private now = 0

  constructor(options: Partial<AlarmRuleOptions> = {}, restored: readonly Alarm[] = []) {
    this.rule = new AlarmRule({ ...defaultAlarmRule, ...options })
    for (const alarm of restored) this.rule.restore(alarm)
  }

  get alarm(): Alarm {
    const [alarm] = [...this.rule.alarms()]
    assert.ok(alarm)
    assert.deepEqual(alarmSchema.parse(alarm), alarm)
    return alarm
  }

  /** Lets the clock run to so many seconds after noon. */
  until(seconds: number): this {
    while (this.rule.due <= at(seconds).getTime()) {
      this.now = Math.max(this.now, (this.rule.due - noon) / 1_000)
      this.note(this.rule.advance(at(this.now)))
    }
    this.now = seconds
    return this
  }

  /** Somebody sets the clock by so many seconds; no time passes. */
  setClock(seconds: number): this {
    this.now += seconds
    this.note(this.rule.clockSet(seconds * 1_000, at(this.now)))
    return this.until(this.now)
  }

  windows(labels: string, fields: Partial<Inference> = {}): this {
    const names: Record<string, string> = { n: 'normal', b: 'ball', i: 'inner-race' }
    for (const letter of labels) this.note(this.rule.observe(here, inference(names[letter]!, fields), at(this.now)))
    return this.until(this.now)
  }

  act(request: Parameters<AlarmRule['act']>[0]): this {
    this.note(this.rule.act(request, at(this.now)))
    return this.until(this.now)
  }

  private note(changes: readonly AlarmChange[]): void {
    for (const { change, alarm, notice } of changes) {
      if (change !== 'updated') this.log.push(`${this.now} ${change} ${notice?.to ?? alarm.fault}`)
    }
  }
}

test('a fault below the confidence for on raises nothing; a normal window below the one for off clears nothing', () => {
  const trial = new Trial({ on: { ...on, confidence: 0.8 }, off: { ...off, confidence: 0.6 } })
  trial.windows('bbbbbb', { confidence: 0.7 })
  assert.deepEqual(trial.log, [])
  trial.windows('bbbb', { confidence: 0.8 }).windows('n'.repeat(20), { confidence: 0.5 })
  assert.deepEqual(trial.log, ['0 raised ball'])
  trial.windows('n'.repeat(10), { confidence: 0.6 })
  assert.deepEqual(trial.log, ['0 raised ball', '0 returned ball'])
})

test('with an on-delay an alarm comes when the fault has lasted, though no further window does', () => {
  const trial = new Trial({ on: { ...on, delayS: 30 } }).windows('bbbb').until(29)
  assert.deepEqual(trial.log, [])
  trial.until(40)
  assert.deepEqual(trial.log, ['30 raised ball'])
  assert.equal(trial.alarm.evidence.length, 4)
})

test('a fault that goes before the on-delay has passed raises nothing, and the delay begins anew', () => {
  const trial = new Trial({ on: { ...on, delayS: 30 } }).windows('bbbb').until(20).windows('nnn').until(60)
  assert.deepEqual(trial.log, [])
  trial.windows('bbbb').until(89)
  assert.deepEqual(trial.log, [])
  trial.until(90)
  assert.deepEqual(trial.log, ['90 raised ball'])
})

test('with an off-delay an alarm goes when the machine has been normal for so long, and not before', () => {
  const trial = new Trial({ off: { ...off, delayS: 60 } }).windows('bbbb')
  trial.until(10).windows('n'.repeat(10)).until(40).windows('bbb').until(200)
  assert.deepEqual(trial.log, ['0 raised ball'])
  trial.windows('n'.repeat(10)).until(259)
  assert.deepEqual(trial.log, ['0 raised ball'])
  trial.until(260)
  assert.deepEqual(trial.log, ['0 raised ball', '260 returned ball'])
})

test('every state has its transitions', () => {
  const shelve = { action: 'shelve', ...name, minutes: 5 } as const
  const suppress = { action: 'suppress', ...name, kind: 'by-design' } as const
  const states: Record<string, (trial: Trial) => Trial> = {
    unacknowledged: trial => trial.windows('bbbb'),
    acknowledged: trial => trial.windows('bbbb').act({ action: 'acknowledge', ...name }),
    'returned-unacknowledged': trial => trial.windows('bbbb').windows('n'.repeat(10)),
    normal: trial =>
      trial
        .windows('bbbb')
        .act({ action: 'acknowledge', ...name })
        .windows('n'.repeat(10)),
    shelved: trial => trial.windows('bbbb').act(shelve),
    suppressed: trial => trial.windows('bbbb').act(suppress),
  }
  const inputs: Record<string, (trial: Trial) => Trial> = {
    fault: trial => trial.windows('bbbb'),
    normal: trial => trial.windows('n'.repeat(10)),
    acknowledge: trial => trial.act({ action: 'acknowledge', ...name }),
    shelve: trial => trial.act(shelve),
    unshelve: trial => trial.act({ action: 'unshelve', ...name }),
    suppress: trial => trial.act(suppress),
    unsuppress: trial => trial.act({ action: 'unsuppress', ...name }),
  }
  const table = Object.entries(states).map(([state, reach]) => {
    const after = Object.values(inputs).map(input => {
      const trial = reach(new Trial())
      assert.equal(trial.alarm.state, state)
      try {
        return input(trial).alarm.state
      } catch (error) {
        assert.equal((error as { code: string }).code, 'MESSAGE_INVALID')
        return 'refused'
      }
    })
    return [state, ...after]
  })
  const returned = 'returned-unacknowledged'
  assert.deepEqual(table, [
    //state             fault             normal        acknowledge     shelve     unshelve          suppress      unsuppress
    ['unacknowledged', 'unacknowledged', returned, 'acknowledged', 'shelved', 'refused', 'suppressed', 'refused'],
    ['acknowledged', 'acknowledged', 'normal', 'refused', 'shelved', 'refused', 'suppressed', 'refused'],
    [returned, 'unacknowledged', returned, 'normal', 'shelved', 'refused', 'suppressed', 'refused'],
    ['normal', 'unacknowledged', 'normal', 'refused', 'shelved', 'refused', 'suppressed', 'refused'],
    ['shelved', 'shelved', 'shelved', 'refused', 'shelved', 'unacknowledged', 'suppressed', 'refused'],
    ['suppressed', 'suppressed', 'suppressed', 'refused', 'shelved', 'refused', 'suppressed', 'unacknowledged'],
  ])
})

test('shelving ends by itself: with the fault there it alarms again, without it is normal', () => {
  const shelve = { action: 'shelve', ...name, minutes: 10, by: 'anna', comment: 'bearing is ordered' } as const
  const trial = new Trial().windows('bbbb').act(shelve).windows('bb')
  assert.deepEqual(trial.alarm.suppression, { kind: 'shelved', active: true, until: at(600).toISOString() })
  assert.deepEqual(trial.alarm.action, {
    name: 'shelve',
    at: at(0).toISOString(),
    by: 'anna',
    comment: 'bearing is ordered',
  })
  assert.equal(trial.alarm.count, 6, 'what happens out of sight is counted')
  trial.until(1_000)
  assert.deepEqual(trial.log, ['0 raised ball', '0 shelved ball', '600 raised ball'])
  assert.deepEqual([trial.alarm.state, trial.alarm.suppression], ['unacknowledged', undefined])
  trial.act(shelve).windows('n'.repeat(10)).until(2_000)
  assert.deepEqual(trial.log.slice(3), ['1000 shelved ball', '1600 unshelved ball'])
  assert.equal(trial.alarm.state, 'normal')
})

test('nobody can shelve an alarm for longer than is allowed', () => {
  const trial = new Trial({ longestShelfS: 3_600 }).windows('bbbb')
  const shelve = (minutes: number) => trial.act({ action: 'shelve', ...name, minutes })
  assert.throws(() => shelve(61), { code: 'MESSAGE_INVALID', message: /for more than 60 minutes/ })
  assert.equal(shelve(60).alarm.state, 'shelved')
})

test('a fault suppressed before it ever came does not alarm, and alarms once it is not suppressed any more', () => {
  const trial = new Trial().act({ action: 'suppress', ...name, kind: 'out-of-service' }).windows('bbbbbb')
  assert.deepEqual(trial.log, ['0 suppressed ball'])
  assert.deepEqual(trial.alarm.suppression, { kind: 'out-of-service', active: true })
  trial.act({ action: 'unsuppress', ...name })
  assert.deepEqual(trial.log.slice(1), ['0 raised ball'])
  assert.equal(trial.alarm.evidence.length, 4)
})

test('an alarm has the priority of its fault', () => {
  const trial = new Trial({ priorities: { others: 'low', byFault: { ball: 'critical' } } }).windows('bbbbiiii')
  const given = [...trial.rule.alarms()].map(({ fault, priority }) => `${fault} ${priority}`)
  assert.deepEqual(given, ['ball critical', 'inner-race low'])
})

test('the evidence holds both answers and the features', () => {
  const { model } = inference('ball').local
  const window: Partial<Inference> = {
    decidedBy: 'server',
    local: { label: 'normal', confidence: 0.6, model },
    server: { label: 'ball', confidence: 0.97, model, agent: 'hall-1' },
    features: { rms: 0.3, kurtosis: 7 },
  }
  const [first] = new Trial().windows('bbbb', window).alarm.evidence
  assert.deepEqual(
    [first?.local, first?.server, first?.features],
    [{ label: 'normal', confidence: 0.6 }, { label: 'ball', confidence: 0.97 }, window.features],
  )
})

const notices = { contacts: ['anna', 'ben'], repeatS: 60, repeats: 1 }

test('until somebody acknowledges, the first person is told again, then the next, and then nobody', () => {
  const trial = new Trial({ notices }).windows('bbbb').until(10_000)
  assert.deepEqual(trial.log, [
    '0 raised ball',
    '0 notified anna',
    '60 notified anna',
    '120 notified ben',
    '180 notified ben',
  ])
  assert.deepEqual(trial.alarm.notified, { count: 4, at: at(180).toISOString(), to: 'ben' })
})

test('an acknowledgement ends the notices; the next alarm begins with the first person', () => {
  const trial = new Trial({ notices })
    .windows('bbbb')
    .until(130)
    .act({ action: 'acknowledge', ...name })
  trial.until(1_000).windows(`${'n'.repeat(10)}bbbb`)
  assert.deepEqual(trial.log.slice(1), [
    '0 notified anna',
    '60 notified anna',
    '120 notified ben',
    '130 acknowledged ball',
    '1000 returned ball',
    '1000 raised ball',
    '1000 notified anna',
  ])
})

test('a condition that flaps for an hour notifies as often as one that stands', () => {
  const told = (log: readonly string[]) => log.filter(line => line.includes('notified'))
  const flapping = new Trial({ notices })
  for (let second = 0; second < 3_600; second += 5) flapping.until(second).windows(`bbbb${'n'.repeat(10)}bbbb`)
  const standing = new Trial({ notices }).windows('bbbb').until(3_600)
  assert.deepEqual(told(flapping.log), told(standing.log))
  assert.ok(flapping.log.length > 1_000)
})

test('acknowledged each time, a flapping condition notifies no more often than its interval', () => {
  const trial = new Trial({ notices })
  for (let second = 0; second < 600; second += 5) {
    trial
      .until(second)
      .windows('bbbb')
      .act({ action: 'acknowledge', ...name })
      .windows('n'.repeat(10))
  }
  const told = trial.log.filter(line => line.includes('notified')).map(line => Number(line.split(' ')[0]))
  assert.ok(told.length >= 2 && told.length <= 10, `${told.length} notices in ten minutes`)
  for (let i = 1; i < told.length; i++) assert.ok(told[i]! - told[i - 1]! >= 60)
})

test('restored after a restart, shelving and notices go on where they stood', () => {
  const shelved = new Trial().windows('bbbb').act({ action: 'shelve', ...name, minutes: 10 }).alarm
  assert.deepEqual(new Trial({}, [shelved]).until(599).log, [])
  assert.deepEqual(new Trial({}, [shelved]).until(600).log, ['600 raised ball'])
  const told = new Trial({ notices }).windows('bbbb').until(70).alarm
  assert.deepEqual(new Trial({ notices }, [told]).until(119).log, [])
  assert.deepEqual(new Trial({ notices }, [told]).until(10_000).log, ['120 notified ben', '180 notified ben'])
})

const year = 365 * 86_400

for (const [direction, jump] of [
  ['ahead', year],
  ['back', -year],
] as const) {
  test(`a clock that is set ${direction} ends no delay early and makes none longer`, () => {
    const raised = new Trial({ on: { ...on, delayS: 30 } }).windows('bbbb').until(10).setClock(jump)
    assert.deepEqual(raised.windows('b').until(jump + 29).log, [])
    assert.deepEqual(raised.until(jump + 30).log, [`${jump + 30} raised ball`])

    const returned = new Trial({ off: { ...off, delayS: 60 } }).windows('bbbb').windows('n'.repeat(10)).until(20)
    returned.setClock(jump).until(jump + 59)
    assert.deepEqual(returned.log, ['0 raised ball'])
    assert.deepEqual(returned.until(jump + 60).log, ['0 raised ball', `${jump + 60} returned ball`])
  })

  test(`a clock that is set ${direction} leaves shelving and the pause between notices as long as they were`, () => {
    const shelved = new Trial()
      .windows('bbbb')
      .act({ action: 'shelve', ...name, minutes: 10 })
      .until(60)
      .setClock(jump)
    assert.equal(shelved.alarm.suppression?.until, at(jump + 600).toISOString())
    shelved.until(jump + 599)
    assert.deepEqual(shelved.log, ['0 raised ball', '0 shelved ball'])
    assert.deepEqual(shelved.until(jump + 600).log.at(-1), `${jump + 600} raised ball`)

    const notices = { contacts: ['ada'], repeatS: 600, repeats: 2 }
    const notified = new Trial({ notices })
      .windows('bbbb')
      .until(60)
      .setClock(jump)
      .until(jump + 599)
    assert.deepEqual(notified.log, ['0 raised ball', '0 notified ada'])
    assert.deepEqual(notified.until(jump + 600).log.at(-1), `${jump + 600} notified ada`)
  })
}

test('what a wrong clock wrote before a restart shelves no alarm for longer than is allowed, and delays no notice', () => {
  const maxShelfS = defaultAlarmRule.longestShelfS
  const notices = { contacts: ['ada'], repeatS: 600, repeats: 2 }
  const shelved = new Trial()
    .windows('bbbb')
    .act({ action: 'shelve', ...name, minutes: 10 })
    .setClock(year)
  const restored = new Trial({}, [shelved.alarm]).setClock(0)
  assert.equal(restored.alarm.suppression?.until, at(maxShelfS).toISOString())
  assert.deepEqual(restored.until(maxShelfS).log, [`${maxShelfS} raised ball`])

  const notified = new Trial({ notices }).windows('bbbb').setClock(year)
  const again = new Trial({ notices }, [notified.alarm]).setClock(0).until(600)
  assert.deepEqual(again.log, ['600 notified ada'])
})
