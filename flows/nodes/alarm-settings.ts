import { type AlarmPriority, alarmPriorities, FaultlineError } from '@faultline/protocol'
import { type AlarmRuleOptions, defaultAlarmRule, type Threshold } from '../alarms/alarm-options.ts'

/** The fields of an alarm node as the editor stores them; a node from before a field was there lacks it. */
export interface AlarmFields {
  normal?: string
  onVotes?: string | number
  onWindows?: string | number
  onConfidence?: string | number
  onDelayS?: string | number
  offVotes?: string | number
  offWindows?: string | number
  offConfidence?: string | number
  offDelayS?: string | number
  priority?: string
  /** `outer-race: critical, ball: high` */
  priorities?: string
  /** One per line, or with commas between. */
  contacts?: string
  repeatS?: string | number
  repeats?: string | number
  longestShelfH?: string | number
}

/** The rule a node's fields describe. Throws `CONFIG_INVALID`, here or where the rule is used. */
export function alarmRuleOf(fields: AlarmFields): AlarmRuleOptions {
  const { on, off, notices, longestShelfS, normal } = defaultAlarmRule
  return {
    normal: fields.normal || normal,
    on: threshold(on, fields.onVotes, fields.onWindows, fields.onConfidence, fields.onDelayS),
    off: threshold(off, fields.offVotes, fields.offWindows, fields.offConfidence, fields.offDelayS),
    priorities: { others: priority(fields.priority || 'medium'), byFault: priorities(fields.priorities ?? '') },
    notices: {
      contacts: list(fields.contacts ?? ''),
      repeatS: numberOr(notices.repeatS, fields.repeatS),
      repeats: numberOr(notices.repeats, fields.repeats),
    },
    longestShelfS: numberOr(longestShelfS / 3_600, fields.longestShelfH) * 3_600,
  }
}

type Field = string | number | undefined

const threshold = (standard: Threshold, votes: Field, windows: Field, confidence: Field, delayS: Field): Threshold => ({
  votes: numberOr(standard.votes, votes),
  windows: numberOr(standard.windows, windows),
  confidence: numberOr(standard.confidence, confidence),
  delayS: numberOr(standard.delayS, delayS),
})

const numberOr = (standard: number, field: Field): number =>
  field === undefined || field === '' ? standard : Number(field)

const list = (text: string): string[] =>
  text
    .split(/[\n,]/)
    .map(entry => entry.trim())
    .filter(entry => entry !== '')

const priorities = (text: string): Record<string, AlarmPriority> =>
  Object.fromEntries(
    list(text).map(entry => {
      const [fault = '', name = ''] = entry.split(':').map(part => part.trim())
      return [fault, priority(name)]
    }),
  )

function priority(name: string): AlarmPriority {
  const found = alarmPriorities.find(candidate => candidate === name)
  if (found) return found
  throw new FaultlineError('CONFIG_INVALID', `the priority "${name}" is not one of ${alarmPriorities.join(', ')}`)
}
