import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { Source, SourceWindow } from '@faultline/device-agent'

export interface SourceUnderTest {
  name: string
  /** A source that has at least 20 windows, one every `intervalMs`. */
  create(intervalMs: number): Promise<Source>
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
export function testSource({ name, create }: SourceUnderTest): void {
  describe(`source ${name}`, () => {
    test('gives windows of the size and rate it names, all finite', async () => {
      const source = await create(2)
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

    test('gives each window samples of its own', async () => {
      const [first, second] = await take(await create(2), 2)
      assert.notDeepEqual(first!.window.samples, second!.window.samples)
    })

    test('windows end one interval apart, not in the future', async () => {
      const source = await create(10)
      assert.ok(Math.abs(source.intervalMs - 10) < 1e-9)
      const windows = await take(source, 4)
      for (const [i, { at }] of windows.entries()) {
        assert.ok(at.getTime() <= Date.now())
        const since = i === 0 ? 10 : at.getTime() - windows[i - 1]!.at.getTime()
        assert.ok(since >= 8, `${since} ms`)
      }
    })

    test('a slow consumer gets fewer windows, never a queue of old ones', async () => {
      const source = await create(5)
      const windows = await take(source, 4, () => delay(26))
      assert.ok(source.overruns >= 3, `${source.overruns} overruns`)
      const first = windows[0]!.at.getTime()
      const passed = (windows.at(-1)!.at.getTime() - first) / 5
      // Every window that was due is either there or counted.
      assert.ok(Math.abs(windows.length - 1 + source.overruns - passed) <= 1, `${source.overruns} of ${passed}`)
    })

    test('ends when told to, also while it waits', async () => {
      const stopping = new AbortController()
      const source = await create(60_000)
      for await (const _ of source.windows(stopping.signal)) setImmediate(() => stopping.abort())
      assert.ok(stopping.signal.aborted)
    })

    test('gives nothing when it is told to end before it begins', async () => {
      for await (const _ of (await create(1)).windows(AbortSignal.abort())) assert.fail('a window')
    })
  })
}
