import { spawn } from 'node:child_process'
import { join } from 'node:path'

export const root: string = join(import.meta.dirname, '..', '..')

export interface CommandResult {
  code: number | null
  stdout: string
  stderr: string
}

/** Runs a TypeScript program of the repository to its end, as the npm scripts do. */
export function runProgramFile(
  file: string,
  args: readonly string[] = [],
  environment: NodeJS.ProcessEnv = {},
): Promise<CommandResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--import', 'tsx', '--disable-warning=ExperimentalWarning', file, ...args], {
      cwd: root,
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, ...environment },
      timeout: 60_000,
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
