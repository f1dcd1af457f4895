import type { ServerState } from '@faultline/protocol'

/** More servers than that are not remembered: what they say is retained, and an enrolled server may call itself anything. */
const mostServers = 1_000

/** What the servers announce of themselves. */
export class ServerLoads {
  private readonly task: string
  private readonly states = new Map<string, ServerState>()

  constructor(task: string) {
    this.task = task
  }

  heard(server: string, state: ServerState): void {
    if (this.states.has(server) || this.states.size < mostServers) this.states.set(server, state)
  }

  /** Its retained state was cleared: it is no more. */
  forget(server: string): void {
    this.states.delete(server)
  }

  clear(): void {
    this.states.clear()
  }

  /**
   * How long an escalation waits before a server takes it, in ms: the mean over the servers that have a model for the task,
   * any of which may get it. Infinity when servers are known and none of them can answer now; undefined when nothing is
   * known of any.
   */
  get waitMs(): number | undefined {
    if (this.states.size === 0) return undefined
    const waits = [...this.states.values()].flatMap(state =>
      state.online && state.models.some(({ task }) => task === this.task) ? [state.load.waitMs ?? 0] : [],
    )
    if (waits.length === 0) return Number.POSITIVE_INFINITY
    return waits.reduce((sum, wait) => sum + wait, 0) / waits.length
  }
}
