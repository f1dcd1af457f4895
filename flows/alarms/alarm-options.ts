import { type AlarmPriority, FaultlineError } from '@faultline/protocol'
import { checkNotices, type NoticePolicy, noNotices } from './notices.ts'

/** When a point is taken for faulty, or for normal. */
export interface Threshold {
  /** So many of the last `windows` have to say so. */
  votes: number
  windows: number
  /** A window speaks only with this confidence or more; one with less says neither. */
  confidence: number
  /** Seconds for which it has to be so without a break: the on-delay and the off-delay of ISA-18.2. */
  delayS: number
}

export interface AlarmRuleOptions {
  /** The class that means nothing is wrong. */
  normal: string
  on: Threshold
  off: Threshold
  /** Of alarms of a fault; `others` of those not named. */
  priorities: { others: AlarmPriority; byFault?: Readonly<Record<string, AlarmPriority>> }
  notices: NoticePolicy
  /** Nobody can shelve an alarm for longer, in seconds. */
  longestShelfS: number
}

export const defaultAlarmRule: AlarmRuleOptions = {
  normal: 'normal',
  on: { votes: 4, windows: 6, confidence: 0, delayS: 0 },
  off: { votes: 10, windows: 12, confidence: 0, delayS: 0 },
  priorities: { others: 'medium' },
  notices: noNotices,
  longestShelfS: 8 * 3_600,
}

/** Throws `CONFIG_INVALID`. */
export function checkAlarmRule({ on, off, notices, longestShelfS }: AlarmRuleOptions): void {
  checkThreshold('on', on)
  checkThreshold('off', off)
  const windows = Math.max(on.windows, off.windows)
  if (on.votes + off.votes <= windows) {
    fail(`an alarm could go on and off at once: the votes for on and off must sum to more than ${windows} windows`)
  }
  if (!(longestShelfS > 0 && longestShelfS <= 31_536_000)) fail('shelving must be allowed for above 0 s, up to a year')
  checkNotices(notices)
}

function checkThreshold(name: string, { votes, windows, confidence, delayS }: Threshold): void {
  if (!(Number.isInteger(votes) && Number.isInteger(windows) && votes >= 1 && windows >= votes && windows <= 1_000)) {
    fail(`the ${name} rule "${votes} of ${windows} windows" must be whole numbers, 1 <= votes <= windows <= 1000`)
  }
  if (!(confidence >= 0 && confidence <= 1)) fail(`the ${name} confidence ${confidence} is not from 0 to 1`)
  if (!(delayS >= 0 && delayS <= 604_800)) fail(`the ${name} delay of ${delayS} s is not from 0 s to a week`)
}

function fail(message: string): never {
  throw new FaultlineError('CONFIG_INVALID', message)
}
