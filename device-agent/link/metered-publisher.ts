import { FaultlineError, type TopicAddress, type TopicKind } from '@faultline/protocol'
import { sizeOf } from '../decisions/escalation-size.ts'
import type { Publisher } from '../spool/outbox.ts'
import type { ByteBudget, Purpose } from './byte-budget.ts'

/** Without them the fleet takes a device for one that it is not. */
const upkeep: readonly TopicKind[] = ['state', 'config-reported']

function purposeOf(kind: TopicKind): Purpose {
  if (upkeep.includes(kind)) return 'upkeep'
  return kind === 'escalation' ? 'escalation' : 'report'
}

/** Publishes what the budget has room for. */
export class MeteredPublisher implements Publisher {
  private readonly publisher: Publisher
  private readonly budget: Pick<ByteBudget, 'spend'>

  constructor(publisher: Publisher, budget: Pick<ByteBudget, 'spend'>) {
    this.publisher = publisher
    this.budget = budget
  }

  get online(): boolean {
    return this.publisher.online
  }

  /** Rejects with `BUDGET_EXHAUSTED`, and as the publisher does. */
  async publishRaw(address: TopicAddress, payload: Buffer): Promise<void> {
    if (!this.budget.spend(purposeOf(address.kind), sizeOf(address, payload.byteLength).packet)) {
      throw new FaultlineError('BUDGET_EXHAUSTED', `no bytes are left for ${address.kind}`)
    }
    await this.publisher.publishRaw(address, payload)
  }
}
