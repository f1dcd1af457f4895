import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodePayload, examples } from '@faultline/protocol'
import { SummaryTally } from '../../device-agent/reports/summary-tally.ts'

test('classes are counted whatever they are called', () => {
  const tally = new SummaryTally('press-3')
  const labels = ['constructor', 'toString', 'constructor', 'normal']
  for (const label of labels) tally.add({ ...examples.inference.payload, label })
  const summary = tally.take()!
  assert.deepEqual(summary.labels, { constructor: 2, toString: 1, normal: 1 })
  encodePayload('summary', summary)
})

test('a summary begins where the last one ended, and without windows there is none', () => {
  const tally = new SummaryTally('press-3')
  tally.add(examples.inference.payload)
  const first = tally.take()!
  assert.equal(tally.take(), undefined)
  tally.add(examples.inference.payload)
  const { windows, from, labels } = tally.take()!
  assert.equal(windows, 1)
  assert.deepEqual(labels, first.labels)
  assert.ok(from >= first.to)
})

test('a summary of what is no fault says so', () => {
  const tally = new SummaryTally('belt-1')
  tally.add({ ...examples.inference.payload, label: 'cat', faults: false })
  assert.equal(tally.take()!.faults, false)
  tally.add(examples.inference.payload)
  assert.equal(Object.hasOwn(tally.take()!, 'faults'), false)
})
