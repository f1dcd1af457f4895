import { access, readFile, writeFile } from 'node:fs/promises'
import { createSigningKey, loadBundle, signBundle } from '@faultline/inference'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { Command } from '@faultline/runtime'

/** `models -- key` and `models -- sign`. */
export function addSigningCommands(program: Command): void {
  program
    .command('key')
    .description('make a key pair for signing bundles: FILE, which stays with you, and FILE.pub')
    .requiredOption('--out <file>', 'where the private key goes')
    .action(async ({ out }: { out: string }) => {
      const { privateKey, publicKey, keyId } = createSigningKey()
      // Both before either is written: no half of a pair is left, and a key that is overwritten is lost for good.
      for (const path of [out, `${out}.pub`]) await requireAbsent(path)
      await writeNew(out, privateKey, 0o600)
      await writeNew(`${out}.pub`, `${publicKey}\n`, 0o644)
      process.stdout.write(`key ${keyId}\npublic key ${publicKey}\n`)
    })

  program
    .command('sign')
    .description('sign a bundle; a bundle that is signed already gets the new signature')
    .argument('<bundle>', 'directory of the bundle')
    .requiredOption('--key <file>', 'private key, as `key` wrote it')
    .action(async (directory: string, { key }: { key: string }) => {
      const { keyId } = await signBundle(await loadBundle(directory), await readKey(key))
      process.stdout.write(`${directory}: signed with key ${keyId}\n`)
    })
}

/** Private key in PEM. Throws `CONFIG_UNREADABLE`. */
export async function readKey(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE', path)
  }
}

/** Public keys, each given as itself or as a file that holds it. Throws `CONFIG_UNREADABLE`. */
export async function readTrusted(given: readonly string[]): Promise<string[]> {
  return Promise.all(
    given.map(async text => {
      const file = await readFile(text, 'utf8').catch(() => undefined)
      if (file !== undefined) return file.trim()
      if (/^[A-Za-z0-9_-]{43}$/.test(text)) return text
      throw new FaultlineError('CONFIG_UNREADABLE', `"${text}" is neither a public key nor a file that holds one`)
    }),
  )
}

async function requireAbsent(path: string): Promise<void> {
  const there = await access(path).then(
    () => true,
    () => false,
  )
  if (there) throw new FaultlineError('CONFIG_EXISTS', `${path} is there already`)
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  try {
    await writeFile(path, text, { mode, flag: 'wx' })
  } catch (cause) {
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE', path)
  }
}
