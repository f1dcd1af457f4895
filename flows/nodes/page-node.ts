import {
  describeIssue,
  FaultlineError,
  type Message,
  type TopicAddress,
  type TopicKind,
  toFaultlineError,
} from '@faultline/protocol'
import { type Look, look } from '../dashboard/look.ts'
import { type View, Viewers } from '../dashboard/viewers.ts'
import type { BrokerLink } from '../mqtt/broker-link.ts'
import { connected } from './attempt.ts'
import { showConnection } from './broker.ts'
import type { NodeMessage, RuntimeNode } from './node-red.ts'
import { refuseViewers } from './person.ts'

/** What a page shows, kept from the messages of the fleet. Pure: no clock, no timers, no MQTT. */
export interface PageView {
  apply(message: Message): void
  /** A retained message was cleared: what it said is gone. */
  clear(address: TopicAddress): void
  show(look: Look): View
}

/** What the configuration of every page's node has. */
export interface PageConfig {
  broker?: string
  /** Least time from one update of a page to the next, in ms: 100 or more; 500 when empty. */
  intervalMs?: string | number
}

export interface PageOptions {
  link: BrokerLink
  kinds: readonly TopicKind[]
  view: PageView
  intervalMs: PageConfig['intervalMs']
  /** A page has asked; resolves with true when the view has learned something for it meanwhile. */
  onLook?: (look: Look) => Promise<boolean>
  /** Something else is asked for, by somebody who may; true when that was for the node itself. Throws what is said on the page. */
  onRequest?: (message: NodeMessage) => boolean
}

/**
 * Serves a page of the dashboard from its node: a message with the topic `look` is answered to the browser it came from, and
 * again whenever what that browser sees has changed. Everything else leaves by the second output.
 */
export function servePage(node: RuntimeNode<never>, options: PageOptions): void {
  const { link, kinds, view, intervalMs, onLook, onRequest } = options
  const showTo = (look: Look): View => {
    const { rows, parts } = view.show(look)
    return { rows, parts: { ...parts, connected: link.online } }
  }
  const fail = (thrown: unknown) => node.error(toFaultlineError(thrown))
  const viewers = new Viewers({
    viewOf: showTo,
    send: (socketId, payload) => node.send([{ topic: 'view', payload, _client: { socketId } }, null]),
    onError: fail,
    intervalMs: Math.max(100, Number(intervalMs) || 500),
  })
  const touch = () => viewers.touch()
  const clear = (address: TopicAddress) => {
    view.clear(address)
    touch()
  }
  const hide = showConnection(node, link, connected)
  const unsubscribe = link.subscribe(kinds, message => {
    view.apply(message)
    touch()
  })
  link.on('cleared', clear)
  link.on('online', touch)
  link.on('offline', touch)
  node.on('input', (message, send, done) => {
    try {
      if (message.topic !== 'look') {
        // Nobody knows what stands behind the second output.
        refuseViewers(message)
        if (onRequest?.(message)) touch()
        else send([null, message])
        return done()
      }
      const asked = lookOf(message)
      const client = clientOf(message)
      if (client === undefined) send([{ ...message, topic: 'view', payload: wholeOf(showTo(asked)) }, null])
      else viewers.look(client, asked)
      onLook?.(asked).then(news => news && touch(), fail)
      done()
    } catch (thrown) {
      done(toFaultlineError(thrown))
    }
  })
  node.on('close', (_removed, done) => {
    viewers.stop()
    link.off('cleared', clear)
    link.off('online', touch)
    link.off('offline', touch)
    unsubscribe()
    hide()
    done()
  })
}

/** The update for somebody who has nothing and is no browser. */
const wholeOf = ({ rows, parts }: View) => ({ version: 0, follows: 0, order: rows.map(({ key }) => key), rows, parts })

function lookOf({ payload }: NodeMessage): Look {
  const parsed = look.safeParse(typeof payload === 'object' && payload !== null ? payload : {})
  if (parsed.success) return parsed.data
  throw new FaultlineError('MESSAGE_INVALID', `look: ${describeIssue(parsed.error, 'payload')}`)
}

/** The browser that a dashboard's message came from. */
function clientOf({ _client: client }: NodeMessage): string | undefined {
  const socketId = (client as { socketId?: unknown } | undefined)?.socketId
  return typeof socketId === 'string' ? socketId : undefined
}
