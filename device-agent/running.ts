import type { DatabaseSync, MqttSession } from '@faultline/runtime'
import type { AuditKeeper } from './audit-keeper.ts'
import type { ByteBudget } from './byte-budget.ts'
import type { Commands } from './commands.ts'
import type { CommissioningKeeper } from './commissioning-keeper.ts'
import type { Configuration } from './configuration.ts'
import type { EvidenceExchange } from './evidence-exchange.ts'
import type { MeteredPublisher } from './metered-publisher.ts'
import type { Outbox } from './outbox.ts'
import type { PointMonitor } from './point-monitor.ts'
import type { Policies } from './policies.ts'
import type { Pricing } from './pricing.ts'
import type { ServerLoads } from './server-loads.ts'
import type { Spool } from './spool.ts'
import type { WindowFlow } from './window-flow.ts'

/** What a device agent consists of from start to stop. */
export interface Running {
  database: DatabaseSync
  boot: number
  startedAt: number
  spool: Spool
  outbox: Outbox
  session: MqttSession
  flow: WindowFlow
  servers: ServerLoads
  pricing: Pricing
  budget: ByteBudget
  publisher: MeteredPublisher
  policies: Policies
  evidence: EvidenceExchange
  audits: AuditKeeper
  commissioning: CommissioningKeeper
  configuration: Configuration
  commands: Commands
  monitors: PointMonitor[]
}
