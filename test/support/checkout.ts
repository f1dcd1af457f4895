import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { root } from './processes.ts'

const execute = promisify(execFile)

/** For a test's `skip`: false where the history holds the commit, otherwise a sentence. */
export function missingCommit(commit: string): false | string {
  try {
    execFileSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: root, stdio: 'ignore' })
    return false
  } catch {
    return `the history has no commit ${commit}: this clone is shallow, or no clone`
  }
}

/** Writes the code of a commit into a directory, with the packages that are installed here. Returns the directory. */
export async function checkOut(commit: string, directory: string): Promise<string> {
  mkdirSync(directory, { recursive: true })
  const wanted = ['.', ':!docs', ':!test', ':!models/image-local', ':!models/image-server']
  const archive = join(directory, 'archive.tar')
  await execute('git', ['archive', '-o', archive, commit, '--', ...wanted], { cwd: root })
  await execute('tar', ['-xf', archive, '-C', directory])
  await rm(archive)
  for (const workspace of ['.', 'runtime', 'lab']) linkPackages(workspace, directory)
  return directory
}

/** Links what is installed for a workspace, but its workspaces to those of the directory. */
function linkPackages(workspace: string, directory: string): void {
  const [installed, target] = [join(root, workspace, 'node_modules'), join(directory, workspace, 'node_modules')]
  if (!existsSync(installed)) return
  mkdirSync(join(target, '@faultline'), { recursive: true })
  for (const name of readdirSync(installed).filter(name => name !== '@faultline'))
    symlinkSync(join(installed, name), join(target, name))
  if (workspace !== '.') return
  for (const name of readdirSync(join(installed, '@faultline')))
    if (existsSync(join(directory, name))) symlinkSync(join(directory, name), join(target, '@faultline', name))
}
