import { mkdtempSync, writeFileSync } from 'node:fs'
import { rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { nodeFlags, type RunningProgram, root, startProgram } from '../support/processes.ts'

export interface FaultOptions {
  seed: number
  /** Share of the calls that throw while faults are on. */
  rate: number
  /** Files below it are written with faults. */
  directory: string
  redis?: boolean
  /** Faults are on while the program starts. */
  fromStart?: boolean
}

/** A program of this repository in a process of its own, whose stores fail while faults are on. */
export class FaultyProgram {
  readonly program: RunningProgram
  private readonly control: string

  constructor(t: TestContext, args: readonly string[], options: FaultOptions) {
    const { seed, rate, directory, redis = false, fromStart = false } = options
    this.control = mkdtempSync(join(tmpdir(), 'faultline-faults-'))
    t.after(() => rm(this.control, { recursive: true, force: true }))
    if (fromStart) writeFileSync(join(this.control, 'on'), '')
    const injector = join(root, 'test', 'support', 'fault-injector.mjs')
    this.program = startProgram(t, process.execPath, ['--import', injector, ...nodeFlags, ...args], {
      FAULT_SEED: String(seed),
      FAULT_RATE: String(rate),
      FAULT_DIRECTORY: directory,
      FAULT_CONTROL: this.control,
      ...(redis && { FAULT_REDIS: '1' }),
    })
  }

  async turnOn(): Promise<void> {
    await writeFile(join(this.control, 'on'), '')
  }

  async turnOff(): Promise<void> {
    await rm(join(this.control, 'on'))
  }

  /** Calls that have thrown. */
  async thrown(): Promise<number> {
    return (await stat(join(this.control, 'thrown')).catch(() => ({ size: 0 }))).size
  }

  /** The sum of a counter over its labels, from the operations of the program. */
  async counted(series: string): Promise<number> {
    const [, port] = await this.program.said(/"port":(\d+)[^\n]*"operations listen"/)
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
    const values = [...text.matchAll(new RegExp(`^${series}(?:\\{.*\\})? (\\S+)$`, 'gm'))]
    return values.reduce((sum, [, value]) => sum + Number(value), 0)
  }

  get isRunning(): boolean {
    return this.program.child.exitCode === null && this.program.child.signalCode === null
  }
}
