import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import type { Budget } from '@faultline/protocol'
import { silentLogger } from '@faultline/runtime'
import fc from 'fast-check'
import { ByteBudget, type Purpose } from '../../device-agent/link/byte-budget.ts'
import { type Level, levels } from '../../device-agent/link/rolling-day.ts'
import { openStorage, Settings } from '../../device-agent/spool/storage.ts'
import { temporaryDirectory } from '../support/temp.ts'

const hour = 3_600_000
const noon = Date.UTC(2026, 5, 1, 12)
const limits: Budget = { bytesPerDay: 100_000, escalationBytesPerDay: 50_000, explorationBytesPerDay: 10_000 }
const limitOf = (budget: Budget): Record<Level, number> => ({
  total: budget.bytesPerDay,
  escalations: budget.escalationBytesPerDay,
  exploration: budget.explorationBytesPerDay,
})
const touched: Record<Purpose, readonly Level[]> = {
  upkeep: ['total'],
  report: ['total'],
  escalation: ['total', 'escalations'],
  exploration: ['total', 'escalations', 'exploration'],
}

/** A device's clocks and disk; `boot` is a start of the agent, with or without a stop before. */
function machineOn(settings: Pick<Settings, 'read' | 'writeThrough'>, metered: () => boolean = () => true) {
  const time = { true: noon, off: 0, booted: noon }
  const clock = { wall: () => time.true + time.off, monotonic: () => time.true - time.booted }
  const boot = (budget: Budget | null = limits): ByteBudget => {
    time.booted = time.true
    const made = new ByteBudget({ settings, metered, logger: silentLogger, clock })
    made.use(budget)
    return made
  }
  return { time, boot }
}

async function machine(t: TestContext, metered?: () => boolean) {
  const database = openStorage(await temporaryDirectory(t))
  t.after(() => database.close())
  return machineOn(new Settings(database), metered)
}

/** A disk for thousands of days: texts, as on a disk, without waiting for one. */
class QuickSettings {
  private text: string | undefined

  read(): unknown {
    return this.text && JSON.parse(this.text)
  }

  writeThrough(_: string, value: unknown): void {
    this.text = JSON.stringify(value)
  }
}

test('what fits is spent and what does not is refused, level by level', async t => {
  const { boot } = await machine(t)
  const budget = boot()
  assert.equal(budget.spend('exploration', 10_000), true)
  assert.equal(budget.spend('exploration', 1), false)
  assert.equal(budget.spend('escalation', 40_001), false)
  assert.equal(budget.spend('escalation', 40_000), true)
  assert.equal(budget.spend('escalation', 1), false)
  assert.equal(budget.spend('report', 45_904), true)
  // The last 4,096 bytes are for the device's state.
  assert.equal(budget.spend('report', 1), false)
  assert.equal(budget.spend('upkeep', 4_096), true)
  assert.equal(budget.spend('upkeep', 1), false)
  assert.deepEqual(budget.report, {
    total: { used: 100_000, left: 0 },
    escalations: { used: 50_000, left: 0 },
    exploration: { used: 10_000, left: 0 },
  })
})

test('bytes come back 24 hours after they were spent, and a quarter of an hour later at most', async t => {
  const { boot, time } = await machine(t)
  const budget = boot()
  assert.ok(budget.spend('escalation', 30_000))
  time.true += 6 * hour
  assert.ok(budget.spend('escalation', 20_000))
  time.true = noon + 24 * hour - 1
  assert.equal(budget.leftFor('escalation'), 0)
  assert.equal(budget.spend('escalation', 1), false)
  time.true = noon + 24.25 * hour
  assert.equal(budget.spend('escalation', 30_001), false)
  assert.equal(budget.spend('escalation', 30_000), true)
})

test('a stop keeps what was spent; a crash forfeits a little more', async t => {
  const { boot } = await machine(t)
  const first = boot()
  assert.ok(first.spend('escalation', 12_345))
  first.close()
  const second = boot()
  assert.equal(second.report?.escalations.used, 12_345)
  assert.ok(second.spend('escalation', 5))
  const third = boot()
  const { used } = third.report!.escalations
  assert.ok(used >= 12_350 && used <= 12_345 + limits.escalationBytesPerDay / 20, `${used}`)
})

test('where the disk takes nothing, nothing is sent', () => {
  const settings = {
    read: () => undefined,
    writeThrough: () => {
      throw new Error('the disk is full')
    },
  }
  const budget = new ByteBudget({ settings, metered: () => true, logger: silentLogger })
  budget.use(limits)
  assert.equal(budget.spend('upkeep', 1), false)
  budget.use(null)
  assert.equal(budget.spend('report', 1e9), true)
})

test('what is sent over a link that is not metered is not counted', async t => {
  const link = { metered: false }
  const { boot } = await machine(t, () => link.metered)
  const budget = boot()
  assert.ok(budget.spend('escalation', 1_000_000))
  link.metered = true
  assert.equal(budget.spend('escalation', 1_000_000), false)
  assert.equal(budget.report?.total.used, 0)
})

test('another budget does not forget what was spent, nor does none for a while', async t => {
  const { boot } = await machine(t)
  const budget = boot()
  assert.ok(budget.spend('escalation', 40_000))
  budget.use(null)
  budget.use({ ...limits, escalationBytesPerDay: 45_000 })
  assert.equal(budget.leftFor('escalation'), 5_000)
  budget.use({ ...limits, escalationBytesPerDay: 30_000 })
  assert.equal(budget.leftFor('escalation'), 0)
})

test('setting the clock does not bring bytes back', async t => {
  const { boot, time } = await machine(t)
  const budget = boot()
  assert.ok(budget.spend('escalation', 50_000))
  // From the clock of a Pi that just started to the right time, months later.
  time.off += 90 * 24 * hour
  assert.equal(budget.spend('escalation', 1), false)
  time.off -= 300 * 24 * hour
  assert.equal(budget.spend('escalation', 1), false)
  assert.equal(boot().spend('escalation', 1), false)
  // And does not keep them for ever.
  time.true += 24.25 * hour
  assert.equal(budget.spend('escalation', 50_000), true)
})

/** What may happen to a device: it sends, time passes, it is stopped or it crashes, its clock is set while it runs. */
const event = fc.oneof(
  {
    weight: 10,
    arbitrary: fc.record({ what: fc.constant('send' as const), bytes: fc.integer({ min: 1, max: 9_000 }) }),
  },
  {
    weight: 5,
    arbitrary: fc.record({ what: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: 9 * hour }) }),
  },
  { weight: 1, arbitrary: fc.constant({ what: 'stop' as const }) },
  { weight: 1, arbitrary: fc.constant({ what: 'crash' as const }) },
  {
    weight: 1,
    arbitrary: fc.record({ what: fc.constant('set' as const), ms: fc.integer({ min: -hour * 99, max: hour * 99 }) }),
  },
)
const purpose = fc.constantFrom<Purpose>('upkeep', 'report', 'escalation', 'exploration')
const someLimits = fc
  .tuple(fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 1, max: 60_000 }), fc.integer({ min: 0, max: 60_000 }))
  .map(values => values.sort((a, b) => b - a))
  .map(([bytesPerDay, escalationBytesPerDay, explorationBytesPerDay]) => ({
    bytesPerDay: bytesPerDay!,
    escalationBytesPerDay: Math.max(1, escalationBytesPerDay!),
    explorationBytesPerDay: explorationBytesPerDay!,
  }))

test('whatever happens, no 24 hours hold more than the budget, at any level', () => {
  let granted = 0
  let refused = 0
  fc.assert(
    fc.property(someLimits, fc.array(fc.tuple(event, purpose), { minLength: 20, maxLength: 80 }), (given, events) => {
      const { boot, time } = machineOn(new QuickSettings())
      const limit = limitOf(given)
      const sent: { at: number; bytes: number; purpose: Purpose }[] = []
      let budget = boot(given)
      for (const [event, purpose] of events) {
        if (event.what === 'wait') time.true += event.ms
        else if (event.what === 'set') {
          time.off += event.ms
          assert.ok(budget.report) // Health is made every few seconds.
        } else if (event.what === 'send') {
          if (budget.spend(purpose, event.bytes)) {
            sent.push({ at: time.true, bytes: event.bytes, purpose })
            granted++
          } else refused++
        } else {
          if (event.what === 'stop') budget.close()
          budget = boot(given)
        }
        // Over the 24 hours that end now, in the time that nobody set.
        for (const level of levels) {
          const sum = sent
            .filter(one => one.at > time.true - 24 * hour && touched[one.purpose].includes(level))
            .reduce((sum, { bytes }) => sum + bytes, 0)
          assert.ok(sum <= limit[level], `${level}: ${sum} of ${limit[level]}`)
        }
      }
    }),
    { numRuns: 300 },
  )
  assert.ok(granted > 1_000 && refused > 1_000, `${granted} granted, ${refused} refused`)
})
