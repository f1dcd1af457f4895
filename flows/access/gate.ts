import type { Person } from './sessions.ts'

/** Whether all that hears a widget are nodes of Faultline. */
export type Reaches = (widget: string) => boolean

/** Messages of a widget, or lists of them for several outputs and several in a row (Node-RED, "Writing Functions"). */
const deepestList = 2

/**
 * Fields that a browser does not get to set: who sent the message, and, for widgets that it may come by, how they look to
 * everybody (a template's `ui_update.format` would be a script in other people's pages).
 */
const ours = ['user', '_client', 'ui_update', 'req', 'res']

/**
 * Puts a person's name under what their browser sends, in place. False for what is not to be heard: from a viewer everything
 * but to be shown something, and questions to nodes of Faultline, each of which knows what a viewer may ask.
 *
 * `event` is one of the dashboard's: `widget-send`, the id of the widget, the message.
 */
export function signed(event: unknown[], person: Person, reaches: Reaches): boolean {
  const [name, widget, message] = event
  if (name === 'widget-send' || name === 'widget-action') {
    if (person.role === 'viewer' && !(typeof widget === 'string' && reaches(widget))) return false
    const signedMessage = sign(message, person, 0)
    if (signedMessage === undefined) return false
    event[2] = signedMessage
    return true
  }
  return person.role !== 'viewer' || name === 'widget-load'
}

function sign(message: unknown, person: Person, depth: number): unknown {
  if (Array.isArray(message)) {
    if (depth >= deepestList) return undefined
    const list = message.map(each => (each === null ? null : sign(each, person, depth + 1)))
    return list.includes(undefined) ? undefined : list
  }
  if (typeof message !== 'object' || message === null) return { payload: message, user: person }
  const fields = Object.entries(message).filter(([name]) => !ours.includes(name))
  return { ...Object.fromEntries(fields), user: person }
}
