import { FaultlineError } from '@faultline/protocol'

/** So many devices, or such a share of all of them, in per cent. */
export type Amount = { count: number } | { percent: number }

/** `3` or `10%`. Undefined for anything else. */
export function amountOf(text: string): Amount | undefined {
  const match = /^(\d{1,6}(?:\.\d+)?)(%?)$/.exec(text.trim())
  if (!match) return undefined
  const value = Number(match[1])
  if (match[2]) return value <= 100 ? { percent: value } : undefined
  return Number.isInteger(value) ? { count: value } : undefined
}

/**
 * Devices in the groups that a rollout goes by, one after the other. `steps` are the sizes of the first groups; what is left
 * is the last. Canaries are the first group when they are named; the others follow by name, so that the same rollout
 * always has the same groups. Throws `ROLLOUT_INVALID`.
 */
export function groupsOf(names: readonly string[], steps: readonly Amount[], canaries: readonly string[]): string[][] {
  if (names.length === 0) throw new FaultlineError('ROLLOUT_INVALID', 'no device is enrolled that this would be for')
  const stranger = canaries.find(name => !names.includes(name))
  if (stranger !== undefined)
    throw new FaultlineError('ROLLOUT_INVALID', `the canary ${stranger} is none of the devices of the rollout`)
  const groups: string[][] = canaries.length > 0 ? [[...new Set(canaries)].sort()] : []
  const rest = names.filter(name => !canaries.includes(name)).sort()
  for (const step of canaries.length > 0 ? steps.slice(1) : steps) {
    const size = 'count' in step ? step.count : Math.ceil((step.percent / 100) * names.length)
    const group = rest.splice(0, size)
    if (group.length > 0) groups.push(group)
  }
  if (rest.length > 0) groups.push(rest)
  return groups
}
