import { spawn } from 'node:child_process'
import { extname, join } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { z } from 'zod'
import type { Bundle } from '../bundle/bundle.ts'
import { createEngine } from './create.ts'
import { type EngineName, engineNames } from './engine.ts'

export interface ChooseOptions {
  /** Engines to try, best first. */
  order?: readonly EngineName[]
  /** Time one engine has for starting a process, loading and answering. */
  timeoutMs?: number
  /** The program that tries one engine: `trial` beside this file unless a test stands in for it. */
  trial?: string
}

export interface EngineChoice {
  engine: EngineName
  /** The engines tried before, and why each was passed over. */
  rejected: { engine: EngineName; reason: string }[]
}

const DEFAULT_TIMEOUT_MS = 20_000
/** Enough of a crashed process's last words to find the cause. */
const KEPT_STDERR_CHARACTERS = 400

/** In an agent package both are bundled JavaScript. */
const shippedTrial = join(import.meta.dirname, `trial${extname(import.meta.filename)}`)

/** What `trial.ts` reports to its parent. */
export const trialReport = z.union([
  z.object({ ok: z.literal(true) }),
  z.object({ ok: z.literal(false), code: z.string(), message: z.string() }),
])

/**
 * Finds the first engine that loads the bundle and reproduces its golden outputs. Each is tried in a process of its
 * own: a native library that crashes or hangs on this CPU takes nothing with it. The choice holds for the machine and the
 * bundle; callers that load the bundle several times pass it along instead of choosing again.
 * Throws `ENGINE_UNAVAILABLE`, listing the reasons, when none works.
 */
export async function chooseEngine(bundle: Bundle, options: ChooseOptions = {}): Promise<EngineChoice> {
  const { order = engineNames, timeoutMs = DEFAULT_TIMEOUT_MS, trial = shippedTrial } = options
  const rejected: EngineChoice['rejected'] = []
  for (const engine of order) {
    const reason = createEngine(engine).supports(bundle)
      ? await tryEngine(trial, bundle.directory, engine, timeoutMs)
      : 'the bundle holds no network in its format'
    if (reason === undefined) return { engine, rejected }
    rejected.push({ engine, reason })
  }
  const reasons = rejected.map(({ engine, reason }) => `${engine}: ${reason}`).join('; ')
  throw new FaultlineError('ENGINE_UNAVAILABLE', `no engine runs ${bundle.directory}: ${reasons || 'none was allowed'}`)
}

/** Undefined when the engine passed, otherwise why it did not. */
function tryEngine(
  trial: string,
  directory: string,
  engine: EngineName,
  timeoutMs: number,
): Promise<string | undefined> {
  return new Promise(resolve => {
    // tsx is named by its own address, so that neither the working directory nor how this process was started matters.
    const loader = trial.endsWith('.ts') ? ['--import', import.meta.resolve('tsx')] : []
    const child = spawn(process.execPath, [...loader, trial, directory, engine], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    })
    let report: z.infer<typeof trialReport> | undefined
    let stderr = ''
    let timedOut = false
    const timer = setTimeout(() => {
      timedOut = true
      child.kill('SIGKILL')
    }, timeoutMs)
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      stderr = (stderr + text).slice(-KEPT_STDERR_CHARACTERS)
    })
    child.on('message', message => {
      const parsed = trialReport.safeParse(message)
      if (parsed.success) report = parsed.data
    })
    child.on('error', error => {
      clearTimeout(timer)
      resolve(`the trial did not start: ${error.message}`)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      if (timedOut) resolve(`no answer within ${timeoutMs} ms`)
      else if (report && !report.ok) resolve(`${report.code}: ${report.message}`)
      // A library that answers and then crashes on the way out would do so in the agent too.
      else if (report && code === 0) resolve(undefined)
      else resolve(`the trial ended with ${signal ?? `exit code ${code}`}${lastWords(stderr)}`)
    })
  })
}

function lastWords(stderr: string): string {
  const line = stderr
    .trim()
    .split('\n')
    .find(text => /error|fatal|illegal|abort/i.test(text))
  return line ? `: ${line.trim()}` : ''
}
