import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { root } from '../support/processes.ts'
import { type Mutant, mutants } from './list.ts'
import { type Outcome, Tree } from './tree.ts'

const usage = `Usage: npm run mutants -- [FOLDER | FILE …] [--concurrency N]

Makes the faults of test/mutants/list.ts one at a time, each in a copy of the repository, and runs the tests that must notice it.
Exits with 1 where one survives, or where the text that it changes is not in its file any more, once.

  --concurrency N     copies at a time (default: ${availableParallelism()})
  --help              show this`

interface Result {
  mutant: Mutant
  outcome: Outcome
  seconds: number
}

/** Takes one item after the other, as many at a time as there are trees. */
async function share<T>(trees: readonly Tree[], items: readonly T[], work: (tree: Tree, item: T) => Promise<void>) {
  const queue = [...items]
  const take = async (tree: Tree) => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(tree, item)
  }
  await Promise.all(trees.map(take))
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { concurrency: { type: 'string', default: String(availableParallelism()) }, help: { type: 'boolean' } },
  })
  if (values.help) {
    console.log(usage)
    return
  }
  const concurrency = Number(values.concurrency)
  if (!Number.isInteger(concurrency) || concurrency < 1) throw new Error('--concurrency wants a whole number from 1')
  const chosen = mutants.filter(
    ({ file }) => positionals.length === 0 || positionals.some(name => file === name || file.startsWith(`${name}/`)),
  )
  if (chosen.length === 0) throw new Error(`there is no fault in ${positionals.join(', ')}`)

  const trees: Tree[] = []
  try {
    for (let i = 0; i < Math.min(concurrency, chosen.length); i++) trees.push(await Tree.copy(root))
    await checkTests(trees, [...new Set(chosen.flatMap(({ tests }) => tests))])
    const results: Result[] = []
    await share(trees, chosen, async (tree, mutant) => {
      const from = performance.now()
      const outcome = await tree.try(mutant)
      const result = { mutant, outcome, seconds: (performance.now() - from) / 1_000 }
      results.push(result)
      console.log(lineOf(result))
    })
    report(results)
  } finally {
    for (const tree of trees) await tree.remove()
  }
}

/** A test that fails without a fault would kill every one. */
async function checkTests(trees: readonly Tree[], tests: readonly string[]): Promise<void> {
  const failing: string[] = []
  await share(trees, tests, async (tree, test) => {
    if (!(await tree.passes([test]))) failing.push(test)
  })
  if (failing.length > 0) throw new Error(`these tests fail without a fault: ${failing.join(', ')}`)
}

const lineOf = ({ mutant, outcome, seconds }: Result): string =>
  `${outcome.padEnd(14)} ${seconds.toFixed(1).padStart(6)} s  ${mutant.file.padEnd(42)} ${mutant.breaks}`

function report(results: readonly Result[]): void {
  const killed = results.filter(({ outcome }) => outcome === 'killed')
  const others = results.filter(({ outcome }) => outcome !== 'killed')
  console.log(`\n${killed.length} of ${results.length} faults were noticed`)
  if (others.length === 0) return
  process.exitCode = 1
  for (const { mutant, outcome } of others)
    console.log(`${outcome}: ${mutant.file}: ${JSON.stringify(mutant.find)} -> ${JSON.stringify(mutant.replace)}`)
}

try {
  await main()
} catch (error) {
  console.error(`error: ${(error as Error).message} (--help lists the options)`)
  process.exitCode = 2
}
