/** Node-RED ships no types; this is what the runner and its tests use (https://nodered.org/docs/user-guide/runtime/embedding). */
declare module 'node-red' {
  import type { EventEmitter } from 'node:events'
  import type { IncomingMessage, Server, ServerResponse } from 'node:http'

  type Application = (request: IncomingMessage, response: ServerResponse, next?: () => void) => void

  interface NodeSet {
    id: string
    module?: string
    err?: unknown
  }

  interface RunningNode extends EventEmitter {
    readonly type: string
    /** Ids of the nodes that hear each output. */
    readonly wires: string[][]
    receive(message: Record<string, unknown>): void
  }

  const RED: {
    init(server: Server, settings: Record<string, unknown>): void
    start(): Promise<void>
    stop(): Promise<void>
    readonly httpAdmin: Application
    readonly httpNode: Application
    readonly events: EventEmitter
    readonly runtime: {
      flows: { setFlows(options: { flows: { flows: unknown[] }; deploymentType: 'full' }): Promise<unknown> }
    }
    readonly hooks: { add<Event>(name: string, listener: (event: Event) => void): void }
    readonly nodes: {
      getNodeList(filter: (set: NodeSet) => boolean): NodeSet[]
      /** Null for an id that no running node has; tests know theirs. */
      getNode(id: string): RunningNode
    }
  }
  export default RED
}
