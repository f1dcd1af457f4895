import { type ChildProcess, fork, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { CommandRequest } from './command-host.ts'
import { nodeFlags, root } from './processes.ts'

export interface CommandResult {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a TypeScript program of the repository to its end in a process of its own, as the npm scripts do. */
export function runProgramFile(
  file: string,
  args: readonly string[] = [],
  environment: NodeJS.ProcessEnv = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeFlags, file, ...args], {
      cwd: root,
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...environment },
      timeout: 180_000,
    })
    let stdout = ''
    let stderr = ''
    child.stdout.setEncoding('utf8').on('data', chunk => {
      stdout += chunk
    })
    child.stderr.setEncoding('utf8').on('data', chunk => {
      stderr += chunk
    })
    child.on('error', reject)
    child.on('close', code => resolve({ code, stdout, stderr }))
  })
}

let host: ChildProcess | undefined
let last: Promise<unknown> = Promise.resolve()

/**
 * Runs a TypeScript program of the repository that ends by itself, in a process that all commands of a test file share:
 * loading a program's modules takes a second, which is then spent once.
 */
export function runCommand(file: string, args: readonly string[] = []): Promise<CommandResult> {
  const result = last.then(() => ask({ file, args }))
  last = result.catch(() => {})
  return result
}

async function ask(request: CommandRequest): Promise<CommandResult> {
  if (!host?.connected) host = startHost()
  const child = host
  child.ref()
  child.channel!.ref()
  const answer = new AbortController()
  try {
    const ended = once(child, 'exit', answer).then(([code]) => {
      throw new Error(`${request.file} ${request.args.join(' ')} ended the process of the commands, with ${code}`)
    })
    child.send(request)
    const [result] = await Promise.race([once(child, 'message', answer), ended])
    return result as CommandResult
  } finally {
    answer.abort()
    // The process ends with the test file, when its channel closes.
    child.unref()
    child.channel?.unref()
  }
}

function startHost(): ChildProcess {
  return fork(join(import.meta.dirname, 'command-host.ts'), {
    cwd: root,
    execArgv: [...nodeFlags],
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
}
