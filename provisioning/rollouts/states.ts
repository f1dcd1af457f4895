import type { rolloutDeviceStates, rolloutStates, UpdateState } from '@faultline/protocol'

/** How far a device is in a rollout; see `rolloutDeviceStates`. */
export type DeviceRolloutState = (typeof rolloutDeviceStates)[number]
export type RolloutState = (typeof rolloutStates)[number]

export const hasFailed = (state: DeviceRolloutState): state is 'failed' | 'rolled-back' | 'lost' =>
  ['failed', 'rolled-back', 'lost'].includes(state)

/** Nothing more is expected of it, though one that was lost may come back. */
export const isOver = (state: DeviceRolloutState): boolean =>
  hasFailed(state) || state === 'succeeded' || state === 'withdrawn'

/** The device has an offer, and has not come to an end with it. */
export const isUnderWay = (state: DeviceRolloutState): boolean => state !== 'waiting' && !isOver(state)

/** What a withdrawn offer undoes: the device has done nothing yet but fetch. */
export const canBeWithdrawn = (state: DeviceRolloutState): boolean =>
  state === 'waiting' || state === 'offered' || state === ('downloading' satisfies UpdateState)

/** It may go on, now or when it is resumed. */
export const isOpen = (state: RolloutState): boolean => state === 'running' || state === 'paused'
