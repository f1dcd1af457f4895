import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { flowsStarted } from '../../flows/flows-started.ts'

test('flows that do not start in time are an error with a code and a sentence', async t => {
  const server = createServer().listen(0) // As in the runner, something keeps the process alive.
  t.after(() => server.close())
  const events = new EventEmitter()
  await assert.rejects(flowsStarted(events, 10), {
    code: 'FLOWS_FAILED',
    message: 'Node-RED did not start its flows within 0.01 s',
  })
  assert.deepEqual(events.eventNames(), [])
})

test('flows have started when Node-RED says so, or that a node type of theirs is missing', async () => {
  const events = new EventEmitter()
  const started = flowsStarted(events)
  events.emit('flows:started')
  await started
  const withoutType = flowsStarted(events)
  events.emit('runtime-event', { id: 'runtime-state', payload: { state: 'start' } })
  events.emit('runtime-event', { id: 'runtime-state', payload: { error: 'missing-types' } })
  await withoutType
  assert.deepEqual(events.eventNames(), [])
})
