import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { stripTypeScriptTypes } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Mutant } from './list.ts'

export type Outcome = 'killed' | 'survived' | 'not found' | 'not TypeScript'

/** A test that hangs has noticed the fault, too. */
const maxTestsMs = 300_000

/** The text of a file with its fault; says why where there is none. */
export function mutate(text: string, { find, replace }: Mutant): { text: string } | { outcome: Outcome } {
  const at = text.indexOf(find)
  if (at < 0 || text.indexOf(find, at + 1) >= 0) return { outcome: 'not found' }
  const mutated = text.slice(0, at) + replace + text.slice(at + find.length)
  try {
    // A file that does not load fails every test, which would prove nothing.
    stripTypeScriptTypes(mutated, { mode: 'transform' })
  } catch {
    return { outcome: 'not TypeScript' }
  }
  return { text: mutated }
}

/**
 * A copy of the repository in which faults are made and tests are run. Its packages are links to those of the repository; only its
 * workspaces are its own, or the tests would run what they were not meant to.
 */
export class Tree {
  readonly root: string
  private readonly directory: string

  private constructor(directory: string) {
    this.directory = directory
    this.root = join(directory, 'tree')
  }

  static async copy(repository: string): Promise<Tree> {
    const tree = new Tree(await mkdtemp(join(tmpdir(), 'faultline-mutants-')))
    await mkdir(join(tree.directory, 'tmp'))
    for (const file of filesOf(repository)) {
      await mkdir(dirname(join(tree.root, file)), { recursive: true })
      await cp(join(repository, file), join(tree.root, file), { verbatimSymlinks: true })
    }
    await tree.linkPackages(repository)
    return tree
  }

  async remove(): Promise<void> {
    await rm(this.directory, { recursive: true, force: true, maxRetries: 3 })
  }

  /** Makes one fault, runs its tests, and takes the fault back. */
  async try(mutant: Mutant): Promise<Outcome> {
    const path = join(this.root, mutant.file)
    const text = await readFile(path, 'utf8').catch(() => '')
    const mutated = mutate(text, mutant)
    if ('outcome' in mutated) return mutated.outcome
    await writeFile(path, mutated.text)
    try {
      return (await this.passes(mutant.tests)) ? 'survived' : 'killed'
    } finally {
      await writeFile(path, text)
    }
  }

  /** Whether all tests of some files pass. Ends with the first that does not. */
  async passes(tests: readonly string[]): Promise<boolean> {
    const args = ['--import', 'tsx', '--disable-warning=ExperimentalWarning', 'test/run.ts', ...tests]
    const child = spawn(process.execPath, [...args, '--reporter', 'tap', '--concurrency', '1'], {
      cwd: this.root,
      env: { ...process.env, TMPDIR: join(this.directory, 'tmp'), FAULTLINE_NO_SKIPS: '' },
      stdio: ['ignore', 'pipe', 'ignore'],
      // A group of its own: what tests have started ends with them.
      detached: true,
    })
    let failed = false
    const end = () => {
      failed = true
      if (child.exitCode === null) process.kill(-child.pid!, 'SIGKILL')
    }
    const timer = setTimeout(end, maxTestsMs)
    child.stdout.setEncoding('utf8')
    let line = ''
    child.stdout.on('data', (output: string) => {
      const lines = (line + output).split('\n')
      line = lines.pop()!
      if (!failed && lines.some(text => /^\s*not ok /.test(text))) end()
    })
    const [code] = (await once(child, 'close')) as [number | null]
    clearTimeout(timer)
    return !failed && code === 0
  }

  private async linkPackages(repository: string): Promise<void> {
    const own = '@faultline'
    for (const folder of ['', ...(await readdir(repository))]) {
      const names = await readdir(join(repository, folder, 'node_modules')).catch(() => [])
      const modules = join(this.root, folder, 'node_modules')
      if (names.length > 0) await mkdir(modules, { recursive: true })
      for (const name of names)
        if (name !== own) await symlink(join(repository, folder, 'node_modules', name), join(modules, name))
    }
    const workspaces = join(this.root, 'node_modules', own)
    await mkdir(workspaces, { recursive: true })
    const { workspaces: folders } = JSON.parse(await readFile(join(repository, 'package.json'), 'utf8')) as {
      workspaces: string[]
    }
    for (const folder of folders) await symlink(join(this.root, folder), join(workspaces, folder))
  }
}

/** What git has, and what it would take. */
function filesOf(repository: string): string[] {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '-z']
  const deleted = new Set(listed(repository, ['ls-files', '--deleted', '-z']))
  return listed(repository, args).filter(file => !deleted.has(file))
}

const listed = (repository: string, args: readonly string[]): string[] =>
  execFileSync('git', args, { cwd: repository, encoding: 'utf8', maxBuffer: 2 ** 26 })
    .split('\0')
    .filter(Boolean)
