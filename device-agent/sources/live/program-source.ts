import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { FaultlineError } from '@faultline/protocol'
import type { Source, SourceWindow } from '../source.ts'
import { type Block, LiveWindows, type LiveWindowsOptions } from './live-windows.ts'

export interface ProgramSourceOptions extends LiveWindowsOptions {
  /** The program and its arguments. */
  command: readonly string[]
  /** Bytes of one frame: a sample of every channel; 1 for text. */
  frameBytes: number
  /** Makes what reads whole frames, anew for each run of the program. */
  decoder: () => (frames: Buffer) => Block
}

const lastWords = 500
/** A program that does not end when it is asked to. */
const patienceMs = 2_000

/**
 * Windows from what a program writes to its standard output. It runs while windows are taken. Throws `SENSOR_FAILED` when
 * it cannot be started, or ends by itself.
 */
export class ProgramSource implements Source {
  readonly rateHz: number
  readonly windowSamples: number
  private readonly options: ProgramSourceOptions
  private readonly live: LiveWindows

  constructor(options: ProgramSourceOptions) {
    this.options = options
    this.rateHz = options.rateHz
    this.windowSamples = options.windowSamples
    this.live = new LiveWindows(options)
  }

  get intervalMs(): number {
    return this.live.intervalMs
  }

  get overruns(): number {
    return this.live.overruns
  }

  async *windows(signal: AbortSignal): AsyncGenerator<SourceWindow, void, void> {
    if (signal.aborted) return
    const { live } = this
    const {
      command: [program, ...args],
      frameBytes,
      decoder,
    } = this.options
    const decode = decoder()
    live.begin()
    const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    const closed = once(child, 'close').catch(() => {}) // Its error has a listener of its own.
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-lastWords)
    })
    let rest: Buffer = Buffer.alloc(0)
    child.stdout.on('data', (chunk: Buffer) => {
      const bytes = rest.byteLength > 0 ? Buffer.concat([rest, chunk]) : chunk
      const whole = bytes.byteLength - (bytes.byteLength % frameBytes)
      rest = bytes.subarray(whole)
      if (whole > 0) live.push(decode(bytes.subarray(0, whole)))
    })
    const fail = (what: string) => live.end(new FaultlineError('SENSOR_FAILED', `${program}: ${what}`))
    child.on('error', error => fail(error.message))
    child.on('close', (code, killed) => {
      const reason = said.trim().split('\n').at(-1)
      fail(`ended with ${code ?? killed}${reason ? `: ${reason}` : ''}`)
    })
    try {
      yield* live.windows(signal)
    } finally {
      child.kill()
      const killed = setTimeout(() => child.kill('SIGKILL'), patienceMs)
      if (child.pid !== undefined) await closed
      clearTimeout(killed)
    }
  }
}
