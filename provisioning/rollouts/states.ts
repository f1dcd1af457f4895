import { type UpdateState, updateStates } from '@faultline/protocol'

/**
 * How far a device is in a rollout: what it reports of the update, and before and after that what only the rollout knows.
 * `waiting`: its group has not begun; `offered`: it has not answered; `done`: it says that it is done, but not yet that it
 * runs the digest; `succeeded`: both; `lost`: it came to no end in time; `withdrawn`: the rollout ended first.
 */
export const deviceStates = ['waiting', 'offered', ...updateStates, 'succeeded', 'lost', 'withdrawn'] as const
export type DeviceRolloutState = (typeof deviceStates)[number]

export const hasFailed = (state: DeviceRolloutState): boolean => ['failed', 'rolled-back', 'lost'].includes(state)

/** Nothing more is expected of it, though one that was lost may come back. */
export const isOver = (state: DeviceRolloutState): boolean =>
  hasFailed(state) || state === 'succeeded' || state === 'withdrawn'

/** What a withdrawn offer undoes: the device has done nothing yet but fetch. */
export const canBeWithdrawn = (state: DeviceRolloutState): boolean =>
  state === 'waiting' || state === 'offered' || state === ('downloading' satisfies UpdateState)

/** `aborted`: too many failed. `stopped`: somebody stopped it. */
export type RolloutState = 'running' | 'done' | 'aborted' | 'stopped'
