import { type FaultlineError, toFaultlineError } from '@faultline/protocol'
import type { NodeMessage, NodeStatus, RuntimeNode } from './node-red.ts'

type InputListener = (message: NodeMessage, send: (message: NodeMessage) => void, done: (error?: Error) => void) => void

/**
 * An input listener that does something for each message and sends the message on with what it gave. A failure is seen on the
 * node and reaches a Catch node, with its code as `msg.error.code`.
 */
export function attempt(
  node: RuntimeNode<never>,
  idle: () => NodeStatus,
  work: (message: NodeMessage) => Promise<Record<string, unknown>>,
): InputListener {
  let running = 0
  return (message, send, done) => {
    running++
    node.status({ fill: 'blue', shape: 'dot', text: `${running} under way` })
    work(message).then(
      result => {
        running--
        node.status(running > 0 ? { fill: 'blue', shape: 'dot', text: `${running} under way` } : idle())
        send({ ...message, ...result })
        done()
      },
      thrown => {
        running--
        const error = toFaultlineError(thrown)
        node.status(failure(error))
        done(error)
      },
    )
  }
}

export const connected = (): NodeStatus => ({ fill: 'green', shape: 'dot', text: 'connected' })

export const failure = (error: FaultlineError): NodeStatus => ({ fill: 'red', shape: 'ring', text: error.code })

/** Begins what a node runs; a failure is seen on the node. */
export function begin(node: RuntimeNode<never>, work: Promise<void>): void {
  work.catch(thrown => giveUp(node, thrown))
}

/** Ends what a node runs. Node-RED waits for `done` whether that fails or not. */
export function end(node: RuntimeNode<never>, work: Promise<void> | undefined, done: () => void): void {
  Promise.resolve(work)
    .catch(thrown => node.error(toFaultlineError(thrown)))
    .finally(done)
}

/** A node that cannot work says so: on itself, and in the log. */
export function giveUp(node: RuntimeNode<never>, thrown: unknown): void {
  const error = toFaultlineError(thrown)
  node.status(failure(error))
  node.error(error)
}
