import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { CommandResult } from './command.ts'
import { root } from './processes.ts'

/** Asked of the process that runs commands: which program of the repository, and its arguments. */
export interface CommandRequest {
  file: string
  args: readonly string[]
}

class Exit extends Error {
  readonly code: number
  constructor(code: number) {
    super(`exit ${code}`)
    this.code = code
  }
}

let runs = 0

/** Evaluates the program's file anew, as if it had been started; what it imports stays loaded. */
async function run({ file, args }: CommandRequest): Promise<CommandResult> {
  const output = { stdout: '', stderr: '' }
  const { exit, argv } = process
  const writes = { stdout: process.stdout.write, stderr: process.stderr.write }
  for (const name of ['stdout', 'stderr'] as const)
    process[name].write = ((chunk: string | Uint8Array, ...rest: unknown[]) => {
      output[name] += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()
      const done = rest.findLast(argument => typeof argument === 'function') as (() => void) | undefined
      if (done) process.nextTick(done)
      return true
    }) as typeof process.stdout.write
  process.exitCode = undefined
  process.argv = [process.execPath, resolve(root, file), ...args]
  process.exit = (code => {
    throw new Exit(Number(code ?? process.exitCode ?? 0))
  }) as typeof process.exit
  try {
    await import(`${pathToFileURL(resolve(root, file)).href}?run=${++runs}`)
    return { code: Number(process.exitCode ?? 0), ...output }
  } catch (thrown) {
    if (thrown instanceof Exit) return { code: thrown.code, ...output }
    output.stderr += thrown instanceof Error ? thrown.stack : String(thrown)
    return { code: 1, ...output }
  } finally {
    Object.assign(process, { exit, argv, exitCode: undefined })
    for (const name of ['stdout', 'stderr'] as const) process[name].write = writes[name]
  }
}

let last: Promise<unknown> = Promise.resolve()
process.on('message', (request: CommandRequest) => {
  last = last.then(async () => {
    const result = await run(request)
    process.send!(result)
  })
})
