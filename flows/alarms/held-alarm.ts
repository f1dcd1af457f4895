import type { Alarm } from '@faultline/protocol'
import { isOutOfService, isPresent, returnToNormal } from './lifecycle.ts'

interface PointName {
  device: string
  point: string
}

/** A point of a machine as a key: identifiers hold no slash. */
export const pointKey = ({ device, point }: PointName): string => `${device}/${point}`

/**
 * An alarm and the points that hold it: they showed the fault and are not normal again. Where not all of them can be
 * named (the message the alarm was restored from lists none), every point that is heard from then on holds it until it
 * is normal: better an alarm too long than a fault that one healthy sensor has talked away.
 */
export class HeldAlarm {
  private current: Alarm
  private readonly holders: Set<string>
  /** While holders are unnamed: the points that have been normal since. */
  private normalSince: Set<string> | undefined

  constructor(alarm: Alarm, holders: Iterable<string> = [], someUnnamed = false) {
    this.holders = new Set(holders)
    this.normalSince = someUnnamed ? new Set() : undefined
    this.current = this.withPoints(alarm)
  }

  /** An alarm as it stood before a restart. */
  static restored(message: Alarm): HeldAlarm {
    const alarm = withSuppression(message)
    if (!isPresent(alarm)) return new HeldAlarm(alarm)
    const named = alarm.points?.length ? alarm.points : undefined
    return new HeldAlarm(alarm, (named ?? alarm.evidence).map(pointKey), named === undefined)
  }

  get alarm(): Alarm {
    return this.current
  }

  get points(): Iterable<string> {
    return this.holders
  }

  isHeldBy(point: string): boolean {
    return this.holders.has(point)
  }

  /** A point has a window that counts, whatever it says. */
  hear(point: string): void {
    if (this.normalSince && !this.normalSince.has(point)) this.holders.add(point)
  }

  /** A point shows the fault. */
  hold(point: string): void {
    this.holders.add(point)
  }

  count(step: number, now: string): Alarm {
    return this.become({ ...this.current, count: Math.max(0, this.current.count + step), at: now })
  }

  /** A point is normal. Undefined when it did not hold the alarm. */
  release(point: string, now: string): 'returned' | 'updated' | undefined {
    if (!this.holders.delete(point)) return undefined
    this.normalSince?.add(point)
    const over = this.holders.size === 0
    if (over) this.normalSince = undefined
    const { suppression } = this.current
    this.become(over ? returnToNormal(this.current, now) : { ...this.current, at: now })
    return over && !suppression ? 'returned' : 'updated'
  }

  /** A point is not remembered any more; if it held the alarm, somebody nobody can name still does. */
  lose(point: string): void {
    if (this.holders.delete(point)) this.normalSince ??= new Set()
    this.normalSince?.delete(point)
  }

  /** Takes on another state; the points that hold it stay. */
  become(alarm: Alarm): Alarm {
    this.current = this.withPoints(alarm)
    return this.current
  }

  private withPoints({ points: _, ...alarm }: Alarm): Alarm {
    if (this.normalSince) return alarm
    const points = [...this.holders].map(key => {
      const [device, point] = key.split('/') as [string, string]
      return { device, point }
    })
    return { ...alarm, points }
  }
}

/** A message that somebody else wrote may leave out how the alarm came to be out of sight. */
function withSuppression(alarm: Alarm): Alarm {
  if (!isOutOfService(alarm) || alarm.suppression) return alarm
  const kind = alarm.state === 'shelved' ? 'shelved' : 'out-of-service'
  return { ...alarm, suppression: { kind, active: false } }
}
