import { chmod, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FaultlineError, newSecret } from '@faultline/protocol'
import { compare } from 'bcryptjs'
import { type FlowUser, flowUser, hashPassword } from '../users.ts'

export const adminName = 'admin'

/** Where no user is configured: `admin`, with a password that is made at the first start and shown once. */
export interface FirstAdmin {
  user: FlowUser
  /** Only when it was just made: the directory keeps its hash. */
  password?: string
}

export const adminHashFile = (directory: string): string => join(directory, 'admin-password-hash')

/** Throws `CONFIG_INVALID` for a file that holds no hash: damaging it must not make a password anew. */
export async function firstAdmin(directory: string): Promise<FirstAdmin> {
  const file = adminHashFile(directory)
  const kept = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined
    throw error
  })
  if (kept !== undefined) {
    await chmod(file, 0o600)
    const user = flowUser.safeParse(adminWith(kept.trim()))
    if (user.success) return { user: user.data }
    throw new FaultlineError('CONFIG_INVALID', `${file} holds no hash; without the file a new password is made`)
  }
  const password = newSecret()
  const user = await adminOf(password)
  await writeFile(file, `${user.passwordHash}\n`, { mode: 0o600, flag: 'wx' })
  return { user, password }
}

/** Where a password is configured: its hash is kept, because sessions end with the hash of the password they began with. */
export async function configuredAdmin(directory: string, password: string): Promise<FlowUser> {
  const file = join(directory, 'configured-password-hash')
  const kept = flowUser.safeParse(adminWith((await readFile(file, 'utf8').catch(() => '')).trim()))
  if (kept.success && (await compare(password, kept.data.passwordHash))) return kept.data
  const user = await adminOf(password)
  await replaceSecret(file, user.passwordHash)
  return user
}

async function replaceSecret(file: string, secret: string): Promise<void> {
  const draft = `${file}.part`
  await rm(draft, { force: true })
  await writeFile(draft, `${secret}\n`, { mode: 0o600, flag: 'wx' })
  await rename(draft, file)
}

const adminOf = async (password: string): Promise<FlowUser> => adminWith(await hashPassword(password))

const adminWith = (passwordHash: string): FlowUser => ({ name: adminName, role: 'admin', passwordHash })
