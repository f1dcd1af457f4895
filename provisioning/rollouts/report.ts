import { maxNamedFailures, type RolloutStatus } from '@faultline/protocol'
import { renderTable } from '../table.ts'
import { hasFailed, isOver } from './states.ts'
import type { Rollout, RolloutDevice } from './store.ts'

/** "3 succeeded, 1 probation, 8 waiting": the devices by state, in the order in which they go through them. */
export function countsOf(devices: readonly RolloutDevice[]): string {
  const counts = new Map<string, number>()
  for (const { state } of devices) counts.set(state, (counts.get(state) ?? 0) + 1)
  return [...counts].map(([state, count]) => `${count} ${state}`).join(', ')
}

/** Of the groups that a message tells apart; those that follow are counted with the last. */
const maxGroups = 64
/** Of what a message says in words. */
const maxReason = 200

const minute = (time: string): string => `${time.slice(0, 10)} ${time.slice(11, 16)}`

const titleOf = ({ artifact: { kind, name, version } }: Rollout): string => `${kind} ${name} ${version}`

/** All rollouts, a line each. */
export function listOf(rollouts: readonly { rollout: Rollout; devices: readonly RolloutDevice[] }[]): string {
  const rows = rollouts.map(({ rollout, devices }) => [
    rollout.id,
    titleOf(rollout),
    rollout.state,
    minute(rollout.startedAt),
    rollout.actor,
    countsOf(devices),
  ])
  return renderTable(['rollout', 'of', 'state', 'started (UTC)', 'by', 'devices'], rows)
}

/** One rollout: its groups, and the devices that are under way or have failed. */
export function detailOf(rollout: Rollout, devices: readonly RolloutDevice[]): string {
  const { artifact, state, reason, startedAt, endedAt, actor } = rollout
  const head = [
    `rollout  ${rollout.id}: ${titleOf(rollout)}`,
    `digest   ${artifact.digest}`,
    `state    ${state}${reason === undefined ? '' : `: ${reason}`}`,
    `started  ${minute(startedAt)} UTC by ${actor}${endedAt === undefined ? '' : `, ended ${minute(endedAt)} UTC`}`,
  ]
  const groups = [...new Set(devices.map(({ group }) => group))].map(group => {
    const members = devices.filter(device => device.group === group)
    return [String(group + 1), String(members.length), countsOf(members)]
  })
  const notable = devices
    .filter(device => hasFailed(device.state) || !(isOver(device.state) || device.state === 'waiting'))
    .map(({ name, group, state, changedAt, detail = '' }) => [
      name,
      String(group + 1),
      state,
      `${minute(changedAt)} UTC`,
      detail,
    ])
  return [
    head.join('\n'),
    renderTable(['group', 'devices', ''], groups),
    ...(notable.length > 0 ? [renderTable(['device', 'group', 'state', 'since', ''], notable)] : []),
  ].join('\n\n')
}

/** What is said of a rollout over the broker. */
export function statusOf(rollout: Rollout, devices: readonly RolloutDevice[]): RolloutStatus {
  const { artifact, state, reason, actor, startedAt, endedAt } = rollout
  const { kind, name, version, digest } = artifact
  const groups: RolloutStatus['groups'] = []
  const failures: RolloutStatus['failures'] = []
  for (const device of devices) {
    const group = Math.min(device.group, maxGroups - 1)
    const counts = groups[group] ?? {}
    groups[group] = { ...counts, [device.state]: (counts[device.state] ?? 0) + 1 }
    if (hasFailed(device.state) && failures.length < maxNamedFailures)
      failures.push({
        device: device.name,
        state: device.state,
        ...(device.detail !== undefined && { detail: device.detail.slice(0, maxReason) }),
      })
  }
  return {
    at: new Date().toISOString(),
    artifact: { kind, name, version, digest },
    state,
    ...(reason !== undefined && { reason: reason.slice(0, maxReason) }),
    by: actor.slice(0, maxReason),
    startedAt,
    ...(endedAt !== undefined && { endedAt }),
    groups,
    failures,
  }
}
