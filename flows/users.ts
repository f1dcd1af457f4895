import { createHash, timingSafeEqual } from 'node:crypto'
import { compare, hash } from 'bcryptjs'
import { z } from 'zod'

export const userRoles = ['viewer', 'operator', 'admin'] as const
export type UserRole = (typeof userRoles)[number]

/** Somebody who may log in to the editor. */
export const flowUser = z.strictObject({
  name: z.string().min(1).max(64).describe('To log in with'),
  role: z
    .enum(userRoles)
    .describe('A viewer reads flows, an operator also presses their buttons, an admin changes them'),
  passwordHash: z
    .string()
    .regex(/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/, 'must be a bcrypt hash')
    .describe('As `npm run flows -- hash-password` prints it'),
})

export type FlowUser = z.infer<typeof flowUser>

/** In Node-RED's words (https://nodered.org/docs/user-guide/runtime/securing-node-red): everything is read or written. */
const permissions: Record<UserRole, string | string[]> = {
  viewer: 'read',
  operator: ['read', 'inject.write', 'debug.write'],
  admin: '*',
}

/** Of those who are logged in; an hour less than a shift. */
const sessionS = 7 * 3_600

/** 2^11 rounds: a tenth of a second on a small computer. */
const rounds = 11

export const hashPassword = (password: string): Promise<string> => hash(password, rounds)

interface Account {
  username: string
  permissions: string | string[]
}

/** Who may use the editor, for Node-RED's setting `adminAuth`. */
export function editorAccess(users: readonly FlowUser[]): Record<string, unknown> {
  const account = ({ name, role }: FlowUser): Account => ({ username: name, permissions: permissions[role] })
  const find = (name: string) => users.find(user => user.name === name)
  // An unknown name takes as long as a known one.
  const nobody = hashPassword('')
  return {
    type: 'credentials',
    sessionExpiryTime: sessionS,
    users: async (name: string) => {
      const user = find(name)
      return user ? account(user) : null
    },
    authenticate: async (name: string, attempt: string) => {
      const user = find(name)
      const isRight = await compare(attempt, user?.passwordHash ?? (await nobody))
      return user && isRight ? account(user) : null
    },
  }
}

/** One user with all rights and a long random password, checked without giving away by time how much was right. */
export function soleAdmin(name: string, password: string): Record<string, unknown> {
  const admin: Account = { username: name, permissions: '*' }
  const expected = digest(password)
  return {
    type: 'credentials',
    sessionExpiryTime: sessionS,
    users: async (asked: string) => (asked === name ? admin : null),
    authenticate: async (asked: string, attempt: string) =>
      asked === name && timingSafeEqual(digest(attempt), expected) ? admin : null,
  }
}

const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
