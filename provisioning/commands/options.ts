import { type Role, roles } from '@faultline/protocol'
import { type Command, InvalidArgumentError, Option, parsePositive } from '@faultline/runtime'

const hourMs = 3_600_000

export function parseRole(text: string): Role {
  if ((roles as readonly string[]).includes(text)) return text as Role
  throw new InvalidArgumentError(`Give one of ${roles.join(', ')}.`)
}

export function parseEnrolmentUrl(text: string): string {
  if (URL.canParse(text) && new URL(text).protocol === 'https:') return text
  throw new InvalidArgumentError('Give an address such as https://provision.local:8443.')
}

/** Hours, as milliseconds. */
export const parseHours = (text: string): number => parsePositive(text) * hourMs

/** Hours or none, as milliseconds. */
export const parseHoursOrNone = (text: string): number => (text === '0' ? 0 : parseHours(text))

/** What a claim takes, for the commands that may open one. */
export interface ClaimFlags {
  claimHours: number
  enrolmentUrl: string
}

export const withClaim = (command: Command): Command =>
  command
    .addOption(
      new Option('--claim-hours <hours>', 'how long the one-time token of a claim is good')
        .argParser(parseHours)
        .default(72 * hourMs, '72'),
    )
    .option(
      '--enrolment-url <url>',
      'how devices reach `provision -- serve`',
      parseEnrolmentUrl,
      'https://127.0.0.1:8443',
    )
