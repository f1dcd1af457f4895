export { Broker, type BrokerLimits, type BrokerOptions } from './broker.ts'
export { type BrokerConfig, brokerConfig } from './config.ts'
export type { BrokerCounts } from './counts.ts'
