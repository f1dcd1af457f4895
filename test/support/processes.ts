import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'

/** The repository's root. */
export const root: string = join(import.meta.dirname, '..', '..')

/** What Node.js takes to run TypeScript, as the npm scripts have it. */
export const nodeFlags: readonly string[] = ['--import', 'tsx', '--disable-warning=ExperimentalWarning']

interface Test {
  after(callback: () => Promise<void>): void
}

/** A running program of this repository whose output can be waited for. */
export class RunningProgram {
  readonly child: ChildProcess
  output = ''
  /** Exit code, or null when a signal ended it. */
  readonly exited: Promise<number | null>
  private readonly name: string

  constructor(child: ChildProcess, name: string) {
    this.child = child
    this.name = name
    this.exited = once(child, 'close').then(([code]) => code as number | null)
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text
        child.emit('said')
      })
    }
  }

  /** Resolves with the match once the output holds it; fails when the program ends or the time runs out first. */
  async said(pattern: RegExp, timeoutMs = 120_000): Promise<RegExpMatchArray> {
    const signal = AbortSignal.timeout(timeoutMs)
    let ended = false
    const end = this.exited.then(() => {
      ended = true
    })
    for (;;) {
      const match = pattern.exec(this.output)
      if (match) return match
      if (ended) throw new Error(`${this.name} ended before it said ${pattern}:\n${this.lastWords}`)
      await Promise.race([
        once(this.child, 'said', { signal }).catch(() => {
          throw new Error(`${this.name} did not say ${pattern} within ${timeoutMs} ms:\n${this.lastWords}`)
        }),
        end,
      ])
    }
  }

  private get lastWords(): string {
    return this.output.slice(-4_000)
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal)
    return this.exited
  }
}

/** Starts any program; it is killed when the test ends, should it still run. */
export function startProgram(
  t: Test,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = {},
  cwd = root,
): RunningProgram {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const program = new RunningProgram(child, [command, ...args].join(' '))
  t.after(async () => {
    await program.stop('SIGKILL')
  })
  return program
}

/** Starts a TypeScript entry point of this repository as its npm script does. */
export function startScript(
  t: Test,
  file: string,
  args: readonly string[] = [],
  env: NodeJS.ProcessEnv = {},
  cwd = root,
): RunningProgram {
  return startProgram(t, process.execPath, [...nodeFlags, file, ...args], env, cwd)
}

/** A port that is free now, for a server that cannot say which one it took, or must come back on the same one. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
