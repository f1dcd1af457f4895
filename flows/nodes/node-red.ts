/** The part of Node-RED's API the nodes use (https://nodered.org/docs/creating-nodes/node-js). */
export interface NodeMessage {
  topic?: unknown
  payload?: unknown
  [property: string]: unknown
}

export interface NodeStatus {
  fill?: 'red' | 'green' | 'yellow' | 'blue' | 'grey'
  shape?: 'ring' | 'dot'
  text?: string
}

type Send = (message: NodeMessage | (NodeMessage | null)[]) => void
type Done = (error?: Error) => void

export interface RuntimeNode<Credentials = Record<string, never>> {
  id: string
  credentials: Partial<Credentials> | undefined
  on(event: 'input', listener: (this: this, message: NodeMessage, send: Send, done: Done) => void): void
  on(event: 'close', listener: (this: this, removed: boolean, done: () => void) => void): void
  send: Send
  /** What the node keeps between messages, and with a store on disk between restarts. */
  context(): { get(name: string): unknown; set(name: string, value: unknown): void }
  status(status: NodeStatus): void
  log(text: string): void
  warn(text: string): void
  /** With a message, a Catch node of the flow gets the error. */
  error(error: Error | string, message?: NodeMessage): void
  debug(text: string): void
}

/** What every node's configuration has, and its own entries as the editor stored them: text, numbers, lists. */
export type NodeConfig<Own = unknown> = { id: string; type: string; name?: string } & Own

export interface NodeRed {
  nodes: {
    createNode(node: RuntimeNode<never>, config: NodeConfig): void
    getNode(id: string): unknown
    registerType<Config>(
      type: string,
      construct: (this: never, config: NodeConfig<Config>) => void,
      options?: { credentials?: Record<string, { type: 'text' | 'password' }> },
    ): void
  }
  settings: Record<string, unknown>
}
