import { encodePayload, type Message, modelLevel, toFaultlineError, topicFilter } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { Publisher } from '../spool/outbox.ts'
import type { LocalModel } from './assessment.ts'
import type { Policies } from './policies.ts'

export interface EvidenceExchangeOptions {
  site: string
  device: string
  model: LocalModel['model']
  policies: Policies
  logger: Logger
}

/** What policies tell of machines that have a type, and what they hear of machines like them. */
export class EvidenceExchange {
  private readonly options: EvidenceExchangeOptions

  constructor(options: EvidenceExchangeOptions) {
    this.options = options
  }

  /** Pools of the own model and machine types; none where no point names a type. */
  get filters(): string[] {
    const model = modelLevel(this.options.model.digest)
    return this.options.policies.machineTypes.map(machineType => topicFilter('pool', { model, machineType }))
  }

  /** Publishes what others have not heard of yet. */
  tell(publisher: Publisher): void {
    const { site, device, model, policies, logger } = this.options
    if (!publisher.online) return
    const at = new Date().toISOString()
    for (const [machineType, { kind, verdicts, sums }] of policies.untold()) {
      const payload = { at, model: model.digest, kind, verdicts, sums: sums.map(sum => Number(sum.toPrecision(7))) }
      publisher
        .publishRaw({ kind: 'evidence', site, device, machineType }, encodePayload('evidence', payload))
        .catch(error => logger.debug({ error: toFaultlineError(error).message }, 'evidence not published'))
    }
  }

  /** A pool has come; true where a policy begins with it. The first digits of a digest are not yet the model. */
  heard({ address, payload }: Extract<Message, { kind: 'pool' }>): boolean {
    const { model, policies } = this.options
    return payload.model === model.digest && policies.adopt(address.machineType, payload)
  }
}
