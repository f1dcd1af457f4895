import type { PolicyState } from '@faultline/inference'
import type { Tables } from '../spool/storage.ts'

/** What a state was learned with, and is of no use without. */
export interface PolicyStateKey {
  /** Digest of the local model. */
  model: string
  /** The policy's name and parameters, and the type of machine it decides about, as one text that is the same for the same settings. */
  policy: string
}

/** Enough for every policy an operator tries and the models of some years; a row takes a few kilobytes. */
const mostStates = 32

/** What policies have learned, by model and policy. The states used last are kept. */
export class PolicyStates {
  private readonly select: ReturnType<Tables['prepare']>
  private readonly upsert: ReturnType<Tables['prepare']>
  private readonly forget: ReturnType<Tables['prepare']>

  constructor(database: Tables) {
    this.select = database.prepare('SELECT state FROM policy_states WHERE model = ? AND policy = ?')
    this.upsert = database.prepare(
      `INSERT OR REPLACE INTO policy_states (model, policy, state, used)
       VALUES (?, ?, ?, (SELECT coalesce(max(used), 0) + 1 FROM policy_states))`,
    )
    this.forget = database.prepare(
      `DELETE FROM policy_states WHERE used NOT IN (SELECT used FROM policy_states ORDER BY used DESC LIMIT ${mostStates})`,
    )
  }

  /** Undefined where there is none. Throws where it is not JSON any more; whether it is a state, `restore` tells. */
  read({ model, policy }: PolicyStateKey): PolicyState | undefined {
    const row = this.select.get(model, policy) as { state: string } | undefined
    return row && (JSON.parse(row.state) as PolicyState)
  }

  write({ model, policy }: PolicyStateKey, state: PolicyState): void {
    this.upsert.run(model, policy, JSON.stringify(state))
    this.forget.run()
  }
}
