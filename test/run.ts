import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { isAbsolute, join, resolve } from 'node:path'
import { run } from 'node:test'
import { dot, junit, spec, tap } from 'node:test/reporters'
import { parseArgs } from 'node:util'

/** Many tests wait for other processes most of the time. */
const usualConcurrency = availableParallelism() + 1

const usage = `Usage: npm test -- [FOLDER | FILE …] [--only PATTERN] [--reporter spec|dot|tap|junit] [--concurrency N]

Runs all tests, or those of the folders under test/ and the files that are named.

  --only PATTERN      only tests whose name matches this regular expression
  --reporter NAME     how results are shown (default: spec)
  --concurrency N     test files at a time (default: ${usualConcurrency})
  --help              show this

FAULTLINE_NO_SKIPS=1 makes a skipped test an error, for CI, which has every server the tests need;
FAULTLINE_MAY_SKIP=PATTERN excepts those whose reason matches. TEST_THOROUGH=1 gives long tests their full length.`

const longestTestMs = 600_000

const reporters = { spec: () => new spec(), dot: () => dot, tap: () => tap, junit: () => junit }

/** Folders whose files leave nothing behind, and so can share a process: starting one takes longer than most of them. */
const sharing = ['inference', 'protocol', 'runtime']

/** All test files by path, but the one that loads the others in place of those of a folder that share a process. */
function everything(): string[] {
  const apart = globSync('**/*.test.ts', { cwd: import.meta.dirname, exclude: sharing }).sort()
  return [...sharing.map(folder => join(folder, 'all.ts')), ...apart].map(file => resolve(import.meta.dirname, file))
}

/** Test files by path, those of the folders and files named, or all there are. Throws for a name that has none. */
function testFiles(names: readonly string[]): string[] {
  if (names.length === 0) return everything()
  const all = globSync('**/*.test.ts', { cwd: import.meta.dirname }).sort()
  const chosen = names.flatMap(name => {
    if (isAbsolute(name)) return [name]
    const wanted = name.replace(/^\.?\/?test\//, '').replace(/\/$/, '')
    const found = all.filter(file => file === wanted || file.startsWith(`${wanted}/`) || file === `${wanted}.test.ts`)
    if (found.length === 0) throw new Error(`there are no tests in test/${wanted}`)
    return found
  })
  return [...new Set(chosen)].map(file => resolve(import.meta.dirname, file))
}

function main(): void {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      only: { type: 'string' },
      reporter: { type: 'string', default: 'spec' },
      concurrency: { type: 'string', default: String(usualConcurrency) },
      help: { type: 'boolean' },
    },
  })
  if (values.help) {
    console.log(usage)
    return
  }
  const concurrency = Number(values.concurrency)
  if (!Number.isInteger(concurrency) || concurrency < 1) throw new Error('--concurrency wants a whole number from 1')
  if (!Object.hasOwn(reporters, values.reporter)) throw new Error(`there is no reporter ${values.reporter}`)
  const reporter = reporters[values.reporter as keyof typeof reporters]()

  const noSkips = process.env.FAULTLINE_NO_SKIPS === '1'
  const maySkip = new RegExp(process.env.FAULTLINE_MAY_SKIP || '(?!)') // Nothing, when absent.
  const skipped: string[] = []
  const stream = run({
    files: testFiles(positionals),
    concurrency,
    // A test that waits for ever must not keep the others waiting.
    timeout: longestTestMs,
    execArgv: ['--import', import.meta.resolve('tsx'), '--enable-source-maps', '--disable-warning=ExperimentalWarning'],
    ...(values.only !== undefined && { testNamePatterns: [new RegExp(values.only)] }),
  })
  stream.on('test:pass', ({ name, file, skip }) => {
    if (skip !== undefined && skip !== false && !maySkip.test(String(skip)))
      skipped.push(`${name} (${file ?? 'unknown file'}): ${skip}`)
  })
  stream.on('test:fail', () => {
    process.exitCode = 1
  })
  stream.on('end', () => {
    if (!noSkips || skipped.length === 0) return
    process.exitCode = 1
    console.error(`\n${skipped.length} skipped with FAULTLINE_NO_SKIPS=1:\n${skipped.join('\n')}`)
  })
  stream.compose(reporter).pipe(process.stdout)
}

try {
  main()
} catch (error) {
  console.error(`error: ${(error as Error).message} (--help lists the options)`)
  process.exitCode = 2
}
