import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'

const execArgv = ['--import', import.meta.resolve('tsx'), '--disable-warning=ExperimentalWarning']

/** A part of the benchmark in a process of its own, that answers one question at a time. */
export class Child {
  private readonly process: ChildProcess

  constructor(program: string, args: readonly string[] = []) {
    this.process = fork(join(import.meta.dirname, program), args, {
      execArgv,
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    })
  }

  get pid(): number {
    return this.process.pid!
  }

  /** The next thing it says. Rejects when it ends instead. */
  async hear<T>(): Promise<T> {
    const heard = once(this.process, 'message').then(([message]) => message as T)
    const ended = once(this.process, 'exit').then(([code, signal]) => {
      throw new FaultlineError('INTERNAL', `a process of the benchmark ended with ${signal ?? `exit code ${code}`}`)
    })
    ended.catch(() => {})
    return Promise.race([heard, ended])
  }

  async ask<T>(question: unknown): Promise<T> {
    const answer = this.hear<T>()
    this.process.send(question as object)
    return answer
  }

  async stop(): Promise<void> {
    await end(this.process, () => this.process.disconnect())
  }
}

/** A program of the repository, running once its log holds a text. */
export async function startProgram(file: string, args: readonly string[], said: string) {
  const child = spawn(process.execPath, [...execArgv, join(import.meta.dirname, '../..', file), ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, FAULTLINE_LOG_LEVEL: 'info' },
  })
  let log = ''
  await new Promise<void>((resolve, reject) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text
      if (!log.includes(said)) return
      clearTimeout(patience)
      resolve()
    })
    const patience = setTimeout(() => {
      child.kill('SIGKILL') // Heard of as its end.
    }, 120_000)
    child.once('exit', () => reject(new FaultlineError('INTERNAL', `${file} ended: ${log.slice(-1_000)}`)))
  })
  return { pid: child.pid!, stop: () => end(child, () => child.kill('SIGTERM')) }
}

async function end(child: ChildProcess, ask: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  ask()
  await exited
}
