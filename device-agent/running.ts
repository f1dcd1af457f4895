import type { MqttSession } from '@faultline/runtime'
import type { Commands } from './control/commands.ts'
import type { Configuration } from './control/configuration.ts'
import type { AuditKeeper } from './decisions/audit-keeper.ts'
import type { CommissioningKeeper } from './decisions/commissioning-keeper.ts'
import type { EvidenceExchange } from './decisions/evidence-exchange.ts'
import type { Policies } from './decisions/policies.ts'
import type { WindowFlow } from './decisions/window-flow.ts'
import type { ByteBudget } from './link/byte-budget.ts'
import type { EnergyEstimate } from './link/energy.ts'
import type { MeteredPublisher } from './link/metered-publisher.ts'
import type { Pricing } from './link/pricing.ts'
import type { ServerLoads } from './link/server-loads.ts'
import type { PointMonitor } from './point-monitor.ts'
import type { MissingSpeed } from './sensors/missing-speed.ts'
import type { WindowPace } from './sensors/window-pace.ts'
import type { Outbox } from './spool/outbox.ts'
import type { Store } from './spool/store.ts'
import type { TieredSpool } from './spool/tiered-spool.ts'

/** What a device agent consists of from start to stop. */
export interface Running {
  store: Store
  boot: number
  startedAt: number
  spool: TieredSpool
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
  energy: EnergyEstimate | undefined
  pace: WindowPace
  missingSpeed: MissingSpeed
  monitors: PointMonitor[]
}
