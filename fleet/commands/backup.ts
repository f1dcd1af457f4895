import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { FaultlineError } from '@faultline/protocol'
import { type Command, fromCaller } from '@faultline/runtime'
import { backUp } from '../backup/backup.ts'
import { restore } from '../backup/restore.ts'
import { rootsOf } from '../backup/site.ts'
import { defaultOptions } from '../options.ts'
import { formatBytes } from '../screen.ts'

interface Secrecy {
  passphraseFile?: string
}

/** `backup FILE` and `restore FILE`. */
export function addBackup(program: Command): void {
  const passphrase = [
    '--passphrase-file <file>',
    'the file is encrypted (age format) with what this file holds',
  ] as const
  program
    .command('backup <file>')
    .description(
      'write what a site owns into one file, while its programs run: registry, authority, stores, flows, archives',
    )
    .option('--directory <dir>', `of "npm start" (default: ${defaultOptions.directory}, unless there is a --config)`)
    .option('--config <files...>', 'configuration files of broker, agents, recorder and flows: they and what they name')
    .option('--base <dir>', 'where relative paths in these files begin: where the programs are started', '.')
    .option(...passphrase)
    .action(runBackup)
  program
    .command('restore <file>')
    .description('put a backup where it was, or into another directory; nothing that is there is overwritten')
    .option('--directory <dir>', 'put everything here')
    .option(...passphrase)
    .action(runRestore)
}

async function runBackup(
  file: string,
  flags: Secrecy & { directory?: string; config?: string[]; base: string },
): Promise<void> {
  const { config = [] } = flags
  const directory = flags.directory ?? (config.length === 0 ? defaultOptions.directory : undefined)
  const roots = await rootsOf(directory && fromCaller(directory), config.map(fromCaller), fromCaller(flags.base))
  const { files } = await backUp({ roots, output: fromCaller(file), ...(await passphraseOf(flags)) })
  const bytes = files.reduce((sum, { bytes }) => sum + bytes, 0)
  say(`${resolve(fromCaller(file))}: ${files.length} files, ${formatBytes(bytes)}`)
  if (flags.passphraseFile === undefined) say('it holds secrets and keys as they are: keep it as you keep them')
}

async function runRestore(file: string, flags: Secrecy & { directory?: string }): Promise<void> {
  const { directory } = flags
  const { manifest, places } = await restore({
    file: fromCaller(file),
    ...(directory !== undefined && { directory: fromCaller(directory) }),
    ...(await passphraseOf(flags)),
  })
  say(`restored the backup of ${manifest.at}, written by version ${manifest.version}:`)
  for (const { name, path } of places) say(`  ${name}: ${path}`)
}

async function passphraseOf({ passphraseFile: file }: Secrecy): Promise<{ passphrase?: string }> {
  if (file === undefined) return {}
  const text = await readFile(fromCaller(file), 'utf8').catch(cause => {
    throw new FaultlineError('CONFIG_UNREADABLE', `cannot read ${file}: ${(cause as Error).message}`, { cause })
  })
  const [passphrase = ''] = text.split('\n')
  if (passphrase === '')
    throw new FaultlineError('CONFIG_INVALID', `${file}: its first line is empty, want a passphrase`)
  return { passphrase }
}

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
