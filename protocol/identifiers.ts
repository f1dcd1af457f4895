import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { FaultlineError } from './errors.ts'

/** Sites, devices, points, machines, faults, servers: 1 to 63 of a-z, 0-9 and "-", not starting with "-". */
export const identifierPattern = /^[a-z0-9][a-z0-9-]{0,62}$/

export const identifier = z
  .string()
  .regex(identifierPattern, 'must be 1 to 63 of a-z, 0-9 and "-"')
  .describe('An identifier')

/** Identifies one window through its whole life: the inference, its escalation, its verdict, its revision. */
export const messageId = z
  .string()
  .min(1)
  .max(64)
  .describe('Identifies the window, from its escalation to its revision')

export const newId = (): string => randomUUID()

/** Returns the identifier unchanged. Throws `IDENTIFIER_INVALID`, naming what it was for. */
export function checkIdentifier(value: string, what: string): string {
  if (identifierPattern.test(value)) return value
  throw new FaultlineError('IDENTIFIER_INVALID', `${what} "${value.slice(0, 100)}" is not 1 to 63 of a-z, 0-9 and "-"`)
}
