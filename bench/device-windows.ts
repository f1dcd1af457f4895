import { EventEmitter, once } from 'node:events'
import type { Source, SourceWindow } from '@faultline/device-agent'
import { type BearingClass, BearingSimulator, type Window } from '@faultline/inference'

export const rateHz = 12_000
export const windowSamples = 2_048

/** Windows of a simulated bearing, made beforehand so that simulating them is not part of any figure. */
export function simulatedWindows(count: number, fault: BearingClass, seed: number): Window[] {
  const simulator = new BearingSimulator({
    rateHz,
    shaftHz: 29,
    fault,
    seed,
    severity: () => (fault === 'normal' ? 0 : 1),
  })
  return Array.from({ length: count }, () => ({
    samples: simulator.next(windowSamples),
    shape: [windowSamples],
    rateHz,
    shaftHz: simulator.shaftHz,
  }))
}

/** Windows, one after the other, as a WAV file of 32-bit floats (RFC 2361, format 3). */
export function wavOf(windows: readonly Window[]): Buffer {
  const header = Buffer.alloc(44)
  const bytes = windows.length * windowSamples * 4
  header.write('RIFF', 0, 'latin1')
  header.writeUInt32LE(36 + bytes, 4)
  header.write('WAVEfmt ', 8, 'latin1')
  for (const [at, value] of [
    [16, 16],
    [24, rateHz],
    [28, rateHz * 4],
    [40, bytes],
  ] as const)
    header.writeUInt32LE(value, at)
  for (const [at, value] of [
    [20, 3],
    [22, 1],
    [32, 4],
    [34, 32],
  ] as const)
    header.writeUInt16LE(value, at)
  header.write('data', 36, 'latin1')
  const samples = windows.map(({ samples }) => Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength))
  return Buffer.concat([header, ...samples])
}

/** Gives windows when it is told to, one for every second of a clock of its own, as fast as they are taken. */
export class GivenSource implements Source {
  readonly rateHz = rateHz
  readonly windowSamples = windowSamples
  readonly intervalMs = 1_000
  readonly overruns = 0
  private readonly windowsMade: readonly Window[]
  private readonly events = new EventEmitter()
  private left = 0
  private given = 0
  private readonly since = Date.now()

  constructor(windows: readonly Window[]) {
    this.windowsMade = windows
  }

  /** Resolves when so many more have been dealt with. */
  async give(count: number): Promise<void> {
    this.left += count
    const taken = once(this.events, 'taken')
    this.events.emit('given')
    await taken
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    while (!signal.aborted) {
      if (this.left === 0) {
        if (this.given > 0) this.events.emit('taken')
        await once(this.events, 'given', { signal }).catch(() => {}) // Only an abort rejects.
        continue
      }
      this.left--
      const window = this.windowsMade[this.given % this.windowsMade.length]!
      yield { window, at: new Date(this.since + 1_000 * this.given++) }
    }
  }
}
