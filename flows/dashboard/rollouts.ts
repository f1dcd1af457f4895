import type { RolloutStatus, UpdateOffer, UpdateState, UpdateStatus } from '@faultline/protocol'

/** How far a device is with what it was offered last. */
export interface UpdateRow {
  kind: UpdateStatus['kind']
  /** Of the offer; null where that was taken back. */
  name: string | null
  version: string | null
  /** `offered` before the device has said anything of it. */
  state: UpdateStatus['state'] | 'offered'
  at: string | null
  /** Share of the archive that is on the device, while downloading. */
  received: number | null
  error: string | null
}

/** What is rolled out to several devices. */
export interface Rollout {
  id: string
  kind: RolloutStatus['artifact']['kind']
  name: string
  version: string
  /** As the rollout service says; null where only offers were heard of. */
  state: RolloutStatus['state'] | null
  /** Why it was paused or ended. */
  reason: string | null
  by: string | null
  startedAt: string | null
  devices: number
  done: number
  underWay: number
  failed: number
}

export interface Updating {
  offer?: UpdateOffer
  status?: UpdateStatus
}

const ended: readonly string[] = ['done', 'failed', 'rolled-back'] satisfies UpdateState[]

/** Null where nothing was ever offered. A status of an earlier offer says nothing of the present one. */
export function updateOf({ offer, status }: Updating): UpdateRow | null {
  if (!offer && !status) return null
  const said = !offer || status?.id === offer.id ? status : undefined
  return {
    kind: offer?.kind ?? status!.kind,
    name: offer?.name ?? null,
    version: offer?.version ?? null,
    state: said?.state ?? 'offered',
    at: said?.at ?? null,
    received: said?.received !== undefined && said.bytes ? said.received / said.bytes : null,
    error: said?.error?.message ?? null,
  }
}

/** Rollouts that the service tells of, the newest first, and offers that it does not, those with most devices first. */
export function rolloutsOf(
  devices: readonly Updating[],
  told: ReadonlyMap<string, RolloutStatus> = new Map(),
): Rollout[] {
  const known = [...told].map(([id, status]) => toldRollout(id, status))
  known.sort((a, b) => (a.startedAt! < b.startedAt! ? 1 : -1))
  const rollouts = new Map<string, Rollout>()
  for (const device of devices) {
    const { offer } = device
    if (!offer || told.has(offer.id)) continue
    const { id, kind, name, version } = offer
    const heard = { state: null, reason: null, by: null, startedAt: null }
    const rollout = rollouts.get(id) ?? {
      id,
      kind,
      name,
      version,
      ...heard,
      devices: 0,
      done: 0,
      underWay: 0,
      failed: 0,
    }
    const { state } = updateOf(device)!
    rollout.devices++
    if (state === 'done') rollout.done++
    else if (ended.includes(state)) rollout.failed++
    else rollout.underWay++
    rollouts.set(id, rollout)
  }
  return [...known, ...[...rollouts.values()].sort((a, b) => b.devices - a.devices)]
}

function toldRollout(id: string, status: RolloutStatus): Rollout {
  const { artifact, state, reason = null, by, startedAt } = status
  const { kind, name, version } = artifact
  const count = (fits: (state: string) => boolean): number =>
    status.groups
      .flatMap(group => Object.entries(group))
      .reduce((sum, [of, number]) => sum + (fits(of) ? (number ?? 0) : 0), 0)
  const isDone = (of: string) => of === 'succeeded'
  const isFailed = (of: string) => ['failed', 'rolled-back', 'lost'].includes(of)
  const isIdle = (of: string) => ['waiting', 'withdrawn'].includes(of)
  return {
    ...{ id, kind, name, version, state, reason, by, startedAt },
    devices: count(() => true),
    done: count(isDone),
    underWay: count(of => !isDone(of) && !isFailed(of) && !isIdle(of)),
    failed: count(isFailed),
  }
}
