import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Source, SourceWindow } from '@faultline/device-agent'

export interface SourceUnderTest {
  name: string
  /** A source that has at least 20 windows, the first at once and then one every `intervalMs`. */
  create(intervalMs: number, t: TestContext): Promise<Source>
  /** Windows come when somebody else gives samples, who may be late. */
  live?: boolean
}

async function take(
  source: Source,
  count: number,
  between: () => Promise<void> = async () => {},
): Promise<SourceWindow[]> {
  const stopping = new AbortController()
  const windows: SourceWindow[] = []
  for await (const window of source.windows(stopping.signal)) {
    windows.push(window)
    if (windows.length === count) stopping.abort()
    else await between()
  }
  return windows
}

/** What every source promises. */
export function testSource({ name, create, live = false }: SourceUnderTest): void {
  describe(`source ${name}`, () => {
    test('gives windows of the size and rate it names, all finite', async t => {
      const source = await create(2, t)
      for (const { window } of await take(source, 5)) {
        assert.equal(
          window.shape.reduce((product, extent) => product * extent, 1),
          source.windowSamples,
        )
        assert.equal(window.samples.length, source.windowSamples)
        assert.equal(window.rateHz, source.rateHz)
        assert.ok(window.samples.every(Number.isFinite))
      }
    })

    test('gives each window samples of its own', async t => {
      const [first, second] = await take(await create(2, t), 2)
      assert.notDeepEqual(first!.window.samples, second!.window.samples)
    })

    test('windows end one interval apart, not in the future', async t => {
      const source = await create(60, t)
      assert.ok(Math.abs(source.intervalMs - 60) < 1e-9)
      const windows = await take(source, 4)
      for (const { at } of windows) assert.ok(at.getTime() <= Date.now())
      // Each may be taken late, on a busy machine; the last not before it was due.
      const span = windows.at(-1)!.at.getTime() - windows[0]!.at.getTime()
      assert.ok(live || span >= 60, `${span} ms`)
    })

    test('a slow consumer gets fewer windows, never a queue of old ones', async t => {
      const intervalMs = 5
      const source = await create(intervalMs, t)
      const resumed: number[] = []
      const windows = await take(source, 3, async () => {
        const before = source.overruns
        await delay(6 * intervalMs)
        while (live && source.overruns < before + 2) await delay(intervalMs)
        resumed.push(Date.now())
      })
      assert.ok(source.overruns >= 4, `${source.overruns} overruns`)
      for (const [i, at] of resumed.entries()) {
        const age = at - windows[i + 1]!.at.getTime()
        assert.ok(live || age <= intervalMs + 2, `a window of ${age} ms ago`)
      }
    })

    test('ends when told to, also while it waits', async t => {
      const stopping = new AbortController()
      const source = await create(60_000, t)
      for await (const _ of source.windows(stopping.signal)) setImmediate(() => stopping.abort())
      assert.ok(stopping.signal.aborted)
    })

    test('gives nothing when it is told to end before it begins', async t => {
      for await (const _ of (await create(1, t)).windows(AbortSignal.abort())) assert.fail('a window')
    })
  })
}
