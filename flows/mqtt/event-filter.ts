import type { Message } from '@faultline/protocol'

/** Each entry holds one name or several with commas between; empty lets everything pass. */
export interface EventFilter {
  site?: string
  machine?: string
  label?: string
}

/** Whether a message passes every filter that is set. A message that has no site, machine or label does not pass a filter on it. */
export function matches(filter: EventFilter, message: Message): boolean {
  return (
    names(filter.site, 'site' in message.address ? [message.address.site] : []) &&
    names(filter.machine, machinesOf(message)) &&
    names(filter.label, labelsOf(message))
  )
}

function names(wanted: string | undefined, present: readonly string[]): boolean {
  const list = (wanted ?? '')
    .split(',')
    .map(name => name.trim())
    .filter(name => name !== '')
  return list.length === 0 || present.some(name => list.includes(name))
}

function machinesOf(message: Message): string[] {
  if (message.kind === 'alarm') return [message.address.machine]
  if (message.kind === 'state') return message.payload.online ? message.payload.points.map(point => point.machine) : []
  if (message.kind === 'inference' || message.kind === 'summary' || message.kind === 'escalation') {
    return [message.payload.machine]
  }
  return []
}

function labelsOf(message: Message): string[] {
  if (message.kind === 'alarm') return [message.address.fault]
  if (message.kind === 'inference') return [message.payload.label]
  if (message.kind === 'summary') return Object.keys(message.payload.labels)
  if (message.kind === 'escalation') return [message.payload.local.label]
  if (message.kind === 'verdict') return 'label' in message.payload ? [message.payload.label] : []
  return []
}
