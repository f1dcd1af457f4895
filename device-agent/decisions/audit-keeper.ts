import { type AuditAccount, AuditLedger, auditRateFor, type DecisionContext } from '@faultline/inference'
import { type AnsweredVerdict, auditFinding, toFaultlineError } from '@faultline/protocol'
import type { Logger } from '@faultline/runtime'
import type { RuntimeSettings } from '../control/configuration.ts'
import type { AgentPoint } from '../point-monitor.ts'
import type { Settings } from '../spool/storage.ts'
import { type LocalModel, rounded } from './assessment.ts'
import { referenceOf, type WindowRecord } from './window-record.ts'

export interface AuditKeeperOptions {
  settings: Settings
  model: LocalModel
  points: readonly Pick<AgentPoint, 'point' | 'machine'>[]
  /** What the rate is at least, at the moment; none when absent. */
  floor?: () => number
  logger: Logger
}

const settingName = 'audits'
const dayMs = 86_400_000
/** Windows that are seen before their rate is believed; audits run at `firstRate` until then. */
const enough = 10
const firstRate = 0.01

interface Pace {
  firstAt: number
  lastAt: number
  silent: number
}

/** What audits found, per machine, kept over restarts; and how many of them a promise takes. */
export class AuditKeeper {
  private readonly options: AuditKeeperOptions
  private readonly ledger = new AuditLedger()
  private readonly digest: string
  private readonly normal: string | undefined
  private readonly machineOf: Map<string, string>
  private readonly paces = new Map<string, Pace>()

  /** Reads what was kept. */
  constructor(options: AuditKeeperOptions) {
    const { settings, model, points, logger } = options
    this.options = options
    this.digest = referenceOf(model.model).digest
    this.normal = model.bundle?.description.normal
    this.machineOf = new Map(points.map(({ point, machine }) => [point, machine]))
    const kept = settings.read(settingName)
    try {
      if (kept !== undefined) this.ledger.restore(kept)
    } catch (thrown) {
      logger.warn({ error: toFaultlineError(thrown).message }, 'audits are counted anew')
    }
  }

  /** Every machine of the device, audited or not, with the model in use. */
  get accounts(): AuditAccount[] {
    return [...new Set(this.machineOf.values())].map(machine => {
      const account = this.ledger.account(machine, this.digest)
      return { ...account, missedAtMost: rounded(account.missedAtMost) }
    })
  }

  /** A window was decided upon: counts those that were accepted as normal, audited or not. */
  decided({ machine, at, assessment: { local, decision } }: WindowRecord): void {
    if (
      (decision.answer ?? local).label !== this.normal ||
      (decision.action !== 'accept' && decision.reason !== 'audit')
    )
      return
    const time = at.getTime()
    const pace = this.paces.get(machine) ?? { firstAt: time, lastAt: time, silent: 0 }
    pace.silent++
    pace.lastAt = Math.max(pace.lastAt, time)
    this.paces.set(machine, pace)
  }

  /** A verdict came, in time or late, for the first time. */
  answered({ machine, assessment: { local, decision } }: WindowRecord, verdict: AnsweredVerdict): void {
    if (decision.reason !== 'audit') return
    this.ledger.add(machine, this.digest, auditFinding((decision.answer ?? local).label, verdict.label, this.normal))
    try {
      this.options.settings.write(settingName, this.ledger.snapshot())
    } catch (thrown) {
      this.options.logger.error({ error: toFaultlineError(thrown).message }, 'audits not kept')
    }
  }

  /** The audit rate as settings have it: fixed, or for each machine as its pace asks. */
  rate(setting: RuntimeSettings['auditRate']): number | ((context: DecisionContext) => number) {
    const { floor } = this.options
    const rate = this.rateOf(setting)
    if (!floor) return rate
    return context => Math.max(floor(), typeof rate === 'number' ? rate : rate(context))
  }

  private rateOf(setting: RuntimeSettings['auditRate']): number | ((context: DecisionContext) => number) {
    if (typeof setting === 'number') return setting
    return ({ point = '' }) => {
      const pace = this.paces.get(this.machineOf.get(point) ?? '')
      if (!pace || pace.silent < enough || pace.lastAt <= pace.firstAt) return firstRate
      return auditRateFor(setting, ((pace.silent - 1) * dayMs) / (pace.lastAt - pace.firstAt))
    }
  }
}
