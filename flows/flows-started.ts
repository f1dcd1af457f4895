import type { EventEmitter } from 'node:events'
import { FaultlineError } from '@faultline/protocol'

/** A Raspberry Pi that does other things as well takes a minute. */
const startLimitMs = 180_000

/**
 * Resolves when the flows run: `start` of Node-RED resolves before. Listens from the call on. Rejects with `FLOWS_FAILED` when
 * they take too long.
 */
export function flowsStarted(events: EventEmitter, limitMs = startLimitMs): Promise<void> {
  return new Promise((resolve, reject) => {
    const end = (settle: () => void) => {
      clearTimeout(timer)
      events.off('flows:started', started)
      events.off('runtime-event', missing)
      settle()
    }
    const started = () => end(resolve)
    // A user's flow with a node type that is not installed: Node-RED stays up so that it can be mended in the editor.
    const missing = (event: { id?: string; payload?: { error?: string } }) => {
      if (event.id === 'runtime-state' && event.payload?.error !== undefined) end(resolve)
    }
    const late = new FaultlineError('FLOWS_FAILED', `Node-RED did not start its flows within ${limitMs / 1_000} s`)
    const timer = setTimeout(() => end(() => reject(late)), limitMs).unref()
    events.on('flows:started', started)
    events.on('runtime-event', missing)
  })
}
