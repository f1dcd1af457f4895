export { ServerAgent, type ServerAgentOptions } from './agent.ts'
export { type ServerAgentConfig, serverAgentConfig } from './config.ts'
export type { ServerModel } from './model.ts'
