import { type Alarm, alarmActions, FaultlineError, identifier } from '@faultline/protocol'
import { z } from 'zod'
import { acknowledge, isActive, suppress, unsuppress, withAction } from './lifecycle.ts'

const name = { site: identifier, machine: identifier, fault: identifier }
const details = { by: z.string().min(1).max(64).optional(), comment: z.string().max(500).optional() }

const plain = <A extends string>(action: A) => z.strictObject({ action: z.literal(action), ...name, ...details })

/** What a person asks to be done with an alarm. */
export const alarmRequest = z.discriminatedUnion('action', [
  plain('acknowledge'),
  plain('unshelve'),
  plain('unsuppress'),
  z.strictObject({ action: z.literal('shelve'), ...name, ...details, minutes: z.number().positive() }),
  z.strictObject({
    action: z.literal('suppress'),
    ...name,
    ...details,
    kind: z.enum(['by-design', 'out-of-service']),
  }),
  z.strictObject({ action: z.literal('comment'), ...name, ...details, comment: z.string().min(1).max(500) }),
])

export type AlarmRequest = z.infer<typeof alarmRequest>

/** A step that a request brings about. An alarm that comes back into sight while the fault is there is `raised`. */
export type AlarmStep =
  | 'raised'
  | 'acknowledged'
  | 'shelved'
  | 'unshelved'
  | 'suppressed'
  | 'unsuppressed'
  | 'commented'

/** True for a topic under which a request is sent to the alarm node. */
export const isAction = (topic: unknown): topic is AlarmRequest['action'] =>
  (alarmActions as readonly unknown[]).includes(topic)

/**
 * The alarm after a request. Throws `MESSAGE_INVALID` where its state does not allow it, and for shelving that would take too
 * long.
 */
export function carryOut(
  alarm: Alarm,
  request: AlarmRequest,
  longestShelfS: number,
  now: Date,
): { alarm: Alarm; change: AlarmStep } {
  const { next, change } = step(alarm, request, longestShelfS, now)
  return { alarm: withAction(next, request.action, now.toISOString(), request), change }
}

function step(
  alarm: Alarm,
  request: AlarmRequest,
  longestShelfS: number,
  now: Date,
): { next: Alarm; change: AlarmStep } {
  const at = now.toISOString()
  switch (request.action) {
    case 'acknowledge':
      return { next: acknowledge(alarm, at) ?? refuse(alarm, 'needs no acknowledgement'), change: 'acknowledged' }
    case 'shelve': {
      const { minutes } = request
      if (minutes * 60 > longestShelfS) refuse(alarm, `cannot be shelved for more than ${longestShelfS / 60} minutes`)
      const until = new Date(now.getTime() + minutes * 60_000).toISOString()
      return { next: suppress(alarm, 'shelved', at, until), change: 'shelved' }
    }
    case 'suppress':
      return { next: suppress(alarm, request.kind, at), change: 'suppressed' }
    case 'unshelve':
      if (alarm.state !== 'shelved') refuse(alarm, 'is not shelved')
      return back(alarm, at, 'unshelved')
    case 'unsuppress':
      if (alarm.state !== 'suppressed') refuse(alarm, 'is not suppressed')
      return back(alarm, at, 'unsuppressed')
    case 'comment':
      if (alarm.count === 0 && alarm.state === 'normal') refuse(alarm, 'is not there')
      return { next: alarm, change: 'commented' }
  }
}

function back(alarm: Alarm, at: string, change: AlarmStep): { next: Alarm; change: AlarmStep } {
  const next = unsuppress(alarm, at)!
  return { next, change: isActive(next) ? 'raised' : change }
}

function refuse({ site, machine, fault }: Alarm, why: string): never {
  throw new FaultlineError('MESSAGE_INVALID', `the alarm ${site}/${machine}/${fault} ${why}`)
}
