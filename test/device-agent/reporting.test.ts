import assert from 'node:assert/strict'
import { test } from 'node:test'
import { examples, type Inference } from '@faultline/protocol'
import { deviceAgentConfig } from '../../device-agent/config.ts'
import { PointReporting } from '../../device-agent/reports/reporting.ts'

const accepted = { ...examples.inference.payload, label: 'normal', decidedBy: 'local', outcome: 'accepted' } as const
const confirmed = { ...accepted, decidedBy: 'server', outcome: 'answered', reason: 'checked' } as const
const fault = { ...accepted, label: 'ball' }

/** Which of the inferences of a point are published, by their number, and how many the summary counts. */
function published(inferences: readonly Inference[]): { numbers: number[]; counted: number } {
  const numbers: number[] = []
  let counted = 0
  const sink = {
    inference: ({ id }: Inference) => void numbers.push(Number(id)),
    summary: ({ windows }: { windows: number }) => {
      counted += windows
    },
  }
  const reporting = new PointReporting('press-3', 'exception', sink)
  for (const [i, inference] of inferences.entries()) reporting.report({ ...inference, id: String(i) })
  reporting.flush()
  return { numbers, counted }
}

test('what a server confirms is published, and the accepted windows after it are not', () => {
  assert.deepEqual(published([accepted, confirmed, accepted, accepted]), { numbers: [0, 1], counted: 2 })
})

test('another label is published, however it was decided', () => {
  assert.deepEqual(published([confirmed, fault, fault, accepted]), { numbers: [0, 1, 3], counted: 1 })
})

test('every audit is published', () => {
  const audit = { ...confirmed, reason: 'audit' }
  assert.deepEqual(published([accepted, audit, audit, accepted]).numbers, [0, 1, 2])
})

const file = (more: object) => ({
  site: 'plant-a',
  device: 'pi-1',
  broker: { url: 'mqtt://127.0.0.1:1', secret: 'x' },
  model: 'models/bearing-local',
  points: [{ point: 'motor-de', machine: 'press-3', source: { kind: 'simulated' } }],
  ...more,
})

test('a file that asks for reports by exception gets the intervals and audits of a metered link', () => {
  const { policy, auditRate, summaryIntervalS, healthIntervalS } = deviceAgentConfig.parse(
    file({ reporting: 'exception' }),
  )
  assert.deepEqual(
    { policy, auditRate, summaryIntervalS, healthIntervalS },
    {
      policy: { name: 'default', parameters: { checkBudget: 0.00002 } },
      auditRate: { missedFaultsAtMost: 0.01, withinDays: 7 },
      summaryIntervalS: 600,
      healthIntervalS: 300,
    },
  )
})

test('what a file says itself goes before that', () => {
  const own = { policy: { name: 'never', parameters: {} }, auditRate: 0.05, summaryIntervalS: 60, healthIntervalS: 5 }
  assert.partialDeepStrictEqual(deviceAgentConfig.parse(file({ reporting: 'exception', ...own })), own)
  assert.equal(deviceAgentConfig.parse(file({})).healthIntervalS, 10)
})
