import type { UpdateState } from '@faultline/protocol'

/**
 * The states of an update and what may happen in each. Forward only, one after the other, and from each but `probation` to
 * `failed`; from `switching` and `probation` back to what ran before: `rolled-back`.
 *
 * | state | on the disk | runs |
 * |---|---|---|
 * | downloading | a part of the archive, which grows | the version before |
 * | verifying | the whole archive | the version before |
 * | trying | the new version, unpacked in its place | the version before |
 * | switching | both (of an agent: between two processes) | either |
 * | probation | both | the new version |
 * | done | both: the one before is kept until the next update | the new version |
 * | failed, rolled-back | the version before | the version before |
 */
const over: readonly UpdateState[] = ['done', 'failed', 'rolled-back']

/** Nothing more happens; the next offer is taken. */
export const isOver = (state: UpdateState): boolean => over.includes(state)

/** Another offer may take its place, and a withdrawal ends it: nothing but bytes is lost. */
export const canBeGivenUp = (state: UpdateState): boolean => state === 'downloading'

/** The new version is the one that a start begins with. */
export const runsNew = (state: UpdateState): boolean => state === 'probation' || state === 'done'
