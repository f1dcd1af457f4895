import {
  type ErrorCode,
  errorCodes,
  FaultlineError,
  newId,
  type RolloutCommand,
  type RolloutResult,
} from '@faultline/protocol'
import type { Service } from '@faultline/runtime'
import { Answers } from './answers.ts'
import type { BrokerLink } from './broker-link.ts'

/** Commands for the rollout service, each with its answer. */
export class RolloutRequests implements Service {
  private readonly link: BrokerLink
  private readonly timeoutMs: number
  private readonly results = new Answers<RolloutResult>()
  private unsubscribe = () => {}

  constructor(link: BrokerLink, timeoutMs = 10_000) {
    this.link = link
    this.timeoutMs = timeoutMs
  }

  async start(): Promise<void> {
    this.unsubscribe = this.link.subscribe(['rollout-result'], ({ kind, payload }) => {
      if (kind === 'rollout-result') this.results.give(payload.id, payload)
    })
  }

  async stop(): Promise<void> {
    this.unsubscribe()
    this.results.abandon()
  }

  /** Rejects with the error of the service, and with `ANSWER_MISSING` when it does not answer in time. */
  async send(rollout: string, command: Omit<RolloutCommand, 'id'>): Promise<void> {
    const id = newId()
    const answer = this.results.await(id, this.timeoutMs, 'the rollout service did not answer')
    await this.link.publish({ kind: 'rollout-command', rollout }, { id, ...command })
    const { ok, error } = await answer
    if (ok) return
    const code = error && Object.hasOwn(errorCodes, error.code) ? (error.code as ErrorCode) : 'ROLLOUT_INVALID'
    throw new FaultlineError(code, error?.message ?? 'the rollout service refused the command')
  }
}
