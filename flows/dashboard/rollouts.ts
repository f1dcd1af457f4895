import type { UpdateOffer, UpdateState, UpdateStatus } from '@faultline/protocol'

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

/** An offer that several devices got. */
export interface Rollout {
  id: string
  kind: UpdateOffer['kind']
  name: string
  version: string
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

/** Offers that stand, those with most devices first. */
export function rolloutsOf(devices: readonly Updating[]): Rollout[] {
  const rollouts = new Map<string, Rollout>()
  for (const device of devices) {
    const { offer } = device
    if (!offer) continue
    const { id, kind, name, version } = offer
    const rollout = rollouts.get(id) ?? { id, kind, name, version, devices: 0, done: 0, underWay: 0, failed: 0 }
    const { state } = updateOf(device)!
    rollout.devices++
    if (state === 'done') rollout.done++
    else if (ended.includes(state)) rollout.failed++
    else rollout.underWay++
    rollouts.set(id, rollout)
  }
  return [...rollouts.values()].sort((a, b) => b.devices - a.devices)
}
