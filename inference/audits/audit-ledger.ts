import {
  type AuditCounts,
  type AuditFinding,
  FaultlineError,
  missedAtMost,
  noAudits,
  withFinding,
} from '@faultline/protocol'
import { z } from 'zod'

/** What audits say about the windows of one machine that one local model was trusted with. */
export interface AuditAccount extends AuditCounts {
  machine: string
  /** At most this share of the windows accepted as normal hides a fault, at 95 %. */
  missedAtMost: number
}

/** Machines of one device, and models that a machine has had: far more than there are. */
const mostMachines = 1_024
const mostModels = 8

const count = z.int().nonnegative()
const counts = z
  .strictObject({ audits: count, silent: count, missed: count, wrong: count })
  .refine(
    ({ audits, silent, missed, wrong }) => missed <= silent && missed <= wrong && Math.max(silent, wrong) <= audits,
  )
const ledgerState = z.strictObject({
  version: z.literal(1),
  machines: z
    .array(
      z.strictObject({
        machine: z.string(),
        models: z.array(z.strictObject({ digest: z.string(), counts })).max(mostModels),
      }),
    )
    .max(mostMachines),
})

/** Serialisable, and as small as the machines and models are few. */
export type AuditLedgerState = z.infer<typeof ledgerState>

/**
 * Answered audits per machine and local model: another model misses other faults, so it starts from nothing, while the
 * account of the old one is kept, should it come back. Past its limits the ledger forgets what was written to longest
 * ago. Whoever writes here sees to it that a window is written once.
 */
export class AuditLedger {
  /** By machine, then by digest; each ordered by the last entry, oldest first. */
  private readonly machines = new Map<string, Map<string, AuditCounts>>()

  add(machine: string, digest: string, finding: AuditFinding): void {
    const models = this.machines.get(machine) ?? new Map<string, AuditCounts>()
    const counts = withFinding(models.get(digest) ?? noAudits, finding)
    put(models, digest, counts, mostModels)
    put(this.machines, machine, models, mostMachines)
  }

  /** Nothing audited, nothing known: then any share may hide a fault. */
  account(machine: string, digest: string): AuditAccount {
    const counts = this.machines.get(machine)?.get(digest) ?? noAudits
    return { machine, ...counts, missedAtMost: missedAtMost(counts) }
  }

  snapshot(): AuditLedgerState {
    const machines = [...this.machines].map(([machine, models]) => ({
      machine,
      models: [...models].map(([digest, counts]) => ({ digest, counts })),
    }))
    return { version: 1, machines }
  }

  /** Takes over a snapshot, whatever was written before. Throws `AUDIT_STATE_INVALID` for a value that is none. */
  restore(state: unknown): void {
    const parsed = ledgerState.safeParse(state)
    if (!parsed.success) throw new FaultlineError('AUDIT_STATE_INVALID', 'the kept account of audits is damaged')
    this.machines.clear()
    for (const { machine, models } of parsed.data.machines)
      this.machines.set(machine, new Map(models.map(({ digest, counts }) => [digest, counts])))
  }
}

function put<V>(map: Map<string, V>, key: string, value: V, most: number): void {
  map.delete(key)
  if (map.size >= most) map.delete(map.keys().next().value!)
  map.set(key, value)
}
