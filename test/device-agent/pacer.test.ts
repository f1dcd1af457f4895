import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { maxTimerMs } from '@faultline/runtime'
import { Pacer } from '../../device-agent/sources/pacer.ts'

const busy = (ms: number): void => {
  const end = performance.now() + ms
  while (performance.now() < end);
}

test('a consumer that is always late leaves timers and sockets their turn', async () => {
  const stopping = new AbortController()
  const timer = setTimeout(() => stopping.abort(), 1)
  let ticks = 0
  for await (const _ of new Pacer(1).ticks(stopping.signal)) {
    if (++ticks === 1_000) break
    busy(1.5)
  }
  clearTimeout(timer)
  assert.ok(stopping.signal.aborted, `${ticks} ticks before a timer of 1 ms`)
})

/** The next turns of the event loop, enough for a timer of a few ms. */
async function turns(): Promise<void> {
  const end = performance.now() + 30
  while (performance.now() < end) await new Promise(resolve => setImmediate(resolve))
}

async function ticksOf(t: TestContext, intervalMs: number): Promise<number> {
  const stopping = new AbortController()
  t.after(() => stopping.abort())
  let ticks = 0
  const done = (async () => {
    for await (const _ of new Pacer(intervalMs).ticks(stopping.signal)) ticks++
  })()
  await turns()
  stopping.abort()
  await done
  return ticks
}

test('an interval longer than any timer is waited for, not skipped', async t => {
  const warnings: string[] = []
  const note = ({ name }: Error) => warnings.push(name)
  process.on('warning', note)
  t.after(() => process.off('warning', note))
  assert.equal(await ticksOf(t, 2 * maxTimerMs), 1)
  assert.deepEqual(warnings, [])
})
