import type { UpdateStatus } from '@faultline/protocol'
import { hasFailed, isOver } from './states.ts'
import type { RolloutDevice, Terms } from './store.ts'

type Device = Pick<RolloutDevice, 'group' | 'state'>

/** The group that is under way: the first that has not got far enough for the next. */
export function groupUnderWay(devices: readonly Device[], terms: Terms): number {
  const last = Math.max(...devices.map(({ group }) => group))
  for (let group = 0; group < last; group++) if (!mayAdvance(devices, group, terms)) return group
  return last
}

/** Why a rollout must not go on; undefined while it may. */
export function failureOf(devices: readonly Device[], { maxFailures }: Terms): string | undefined {
  const failed = devices.filter(({ state }) => hasFailed(state))
  if ('count' in maxFailures)
    return failed.length > maxFailures.count
      ? `${failed.length} devices failed, at most ${maxFailures.count} may`
      : undefined
  for (const group of new Set(failed.map(device => device.group))) {
    const size = devices.filter(device => device.group === group).length
    const count = failed.filter(device => device.group === group).length
    if ((count / size) * 100 > maxFailures.percent)
      return `${count} of ${size} devices of group ${group + 1} failed, at most ${maxFailures.percent} % may`
  }
  return undefined
}

/** What a device says of a step that takes a while, in words. */
export function progressOf({ received, bytes, probation }: Partial<UpdateStatus>): string | undefined {
  if (received !== undefined && bytes !== undefined) return `${Math.floor((received / bytes) * 100)} %`
  if (probation) return `${probation.windows} windows, ${probation.wrong} of ${probation.audits} audits contradicted`
  return undefined
}

function mayAdvance(devices: readonly Device[], group: number, { advanceAt }: Terms): boolean {
  const states = devices.filter(device => device.group === group).map(({ state }) => state)
  const succeeded = states.filter(state => state === 'succeeded').length
  return states.every(isOver) || (succeeded / states.length) * 100 >= advanceAt
}
