import { compare, getRounds, hash } from 'bcryptjs'
import { z } from 'zod'

export const userRoles = ['viewer', 'operator', 'admin'] as const
export type UserRole = (typeof userRoles)[number]

/** Somebody who may log in to the dashboard and the editor. */
export const flowUser = z.strictObject({
  name: z.string().min(1).max(64).describe('To log in with; signs what its owner does with an alarm'),
  role: z
    .enum(userRoles)
    .describe(
      'A viewer sees dashboard and flows; an operator also handles alarms, configures devices and presses the buttons of flows; an admin also changes flows',
    ),
  passwordHash: z
    .string()
    .regex(/^\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}$/, 'must be a bcrypt hash')
    .describe('As `npm run flows -- hash-password` prints it'),
})

export type FlowUser = z.infer<typeof flowUser>

/** 2^11: a tenth of a second on a small computer. */
const usualRounds = 11

/** Passwords that are checked at the same time: each takes the processor from the alarms. */
const maximumChecks = 2

/** By bcrypt, with 2^`rounds` rounds. */
export const hashPassword = (password: string, rounds = usualRounds): Promise<string> => hash(password, rounds)

/** Everybody who may log in. */
export class Accounts {
  private readonly users: ReadonlyMap<string, FlowUser>
  /** An unknown name takes as long as a known one. */
  private nobody: Promise<string> | undefined
  private checks = 0

  constructor(users: readonly FlowUser[]) {
    this.users = new Map(users.map(user => [user.name, user]))
  }

  find(name: string): FlowUser | undefined {
    return this.users.get(name)
  }

  /** Whether so many passwords are being checked that no further one is. */
  get isBusy(): boolean {
    return this.checks >= maximumChecks
  }

  /** The user whose password it is; undefined for a wrong one, an unknown name, and while too many others are checked. */
  async verify(name: string, password: string): Promise<FlowUser | undefined> {
    if (this.isBusy) return undefined
    this.checks++
    try {
      const user = this.find(name)
      this.nobody ??= hashPassword('', Math.max(...this.rounds()))
      const isRight = await compare(password, user?.passwordHash ?? (await this.nobody))
      return isRight ? user : undefined
    } finally {
      this.checks--
    }
  }

  private rounds(): number[] {
    return [...this.users.values()].map(user => getRounds(user.passwordHash))
  }
}

/** In Node-RED's words (https://nodered.org/docs/user-guide/runtime/securing-node-red): everything is read or written. */
const permissions: Record<UserRole, string | string[]> = {
  viewer: 'read',
  operator: ['read', 'inject.write', 'debug.write'],
  admin: '*',
}

/** Of those who are logged in to the editor; an hour less than a shift. */
const editorSessionS = 7 * 3_600

/** Who may use the editor, for Node-RED's setting `adminAuth`. */
export function editorAccess(accounts: Accounts): Record<string, unknown> {
  const account = (user: FlowUser | undefined) =>
    user ? { username: user.name, permissions: permissions[user.role] } : null
  return {
    type: 'credentials',
    sessionExpiryTime: editorSessionS,
    users: async (name: string) => account(accounts.find(name)),
    authenticate: async (name: string, password: string) => account(await accounts.verify(name, password)),
  }
}
