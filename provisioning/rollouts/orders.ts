import { FaultlineError, newId } from '@faultline/protocol'
import type { Registry } from '../registry.ts'
import type { Artifact } from './artifact.ts'
import { type Amount, groupsOf } from './plan.ts'
import type { RolloutStore, Terms } from './store.ts'

/** What a rollout is to be. */
export interface RolloutOrder {
  artifact: Artifact
  terms: Terms
  site?: string | undefined
  /** Only these; all of the site, or of the fleet, when absent. */
  devices?: readonly string[] | undefined
  canaries?: readonly string[] | undefined
  groups: readonly Amount[]
}

export const usualTerms: Terms = {
  probation: { seconds: 600, windows: 100, disagreement: 0.1 },
  maxFailures: { percent: 10 },
  advanceAt: 100,
  lostAfterMs: 24 * 3_600_000,
}
export const usualGroups: readonly Amount[] = [{ count: 1 }, { percent: 10 }]

/**
 * What a person does with rollouts, written into the store, where the process that runs them finds it, and with who did it into
 * the registry's log. Throws `ROLLOUT_INVALID`, `ROLLOUT_UNKNOWN` and `DATABASE_FAILED`.
 */
export class RolloutOrders {
  private readonly registry: Registry
  private readonly store: RolloutStore

  constructor(registry: Registry, store: RolloutStore) {
    this.registry = registry
    this.store = store
  }

  /** Keeps an artifact, so that it can be rolled out from a page. */
  add(artifact: Artifact, actor?: string): void {
    this.store.add(artifact)
    this.record('artifact-added', `${nameOf(artifact)} ${artifact.digest}`, actor)
  }

  /** Sizes of its groups. */
  start(id: string, order: RolloutOrder, actor?: string): number[] {
    const { artifact, terms, groups: steps, canaries = [] } = order
    const groups = groupsOf(this.namesOf(order), steps, canaries)
    this.store.add(artifact)
    this.store.create(id, artifact, terms, groups, actor)
    this.record('rolled-out', `${nameOf(artifact)} as ${id}`, actor)
    return groups.map(({ length }) => length)
  }

  pause(id: string, actor?: string): void {
    this.turn(id, 'running', 'paused', actor)
    this.record('rollout-paused', id, actor)
  }

  resume(id: string, actor?: string): void {
    this.turn(id, 'paused', 'running', actor)
    this.record('rollout-resumed', id, actor)
  }

  abort(id: string, actor?: string, reason = actor === undefined ? 'by an operator' : `by ${actor}`): void {
    if (!this.store.end(id, 'aborted', reason)) throw this.notNow(id)
    this.record('rollout-aborted', `${id}: ${reason}`, actor)
  }

  private turn(id: string, from: 'running' | 'paused', to: 'running' | 'paused', actor = 'an operator'): void {
    if (!this.store.turn(id, from, to, to === 'paused' ? `by ${actor}` : undefined)) throw this.notNow(id)
  }

  private notNow(id: string): FaultlineError {
    const { state } = this.store.show(id)
    const why = state === 'running' || state === 'paused' ? `is ${state} already` : `is over: ${state}`
    return new FaultlineError('ROLLOUT_INVALID', `the rollout ${id} ${why}`)
  }

  private namesOf({ site, devices }: RolloutOrder): readonly string[] {
    const enrolled = this.registry.list({ role: 'device', site }).map(({ name }) => name)
    const known = new Set(enrolled)
    const stranger = devices?.find(name => !known.has(name))
    if (stranger !== undefined) throw new FaultlineError('ROLLOUT_INVALID', `${stranger} is no enrolled device`)
    return devices ?? enrolled
  }

  private record(action: Parameters<Registry['record']>[0], detail: string, actor: string | undefined): void {
    this.registry.record(action, 'registry', detail, actor)
  }
}

/** "bearing-local-1-2-0-20260302-081530-3f2a": readable, an identifier, and another one every time. */
export function newRolloutId({ name, version }: Pick<Artifact, 'name' | 'version'>): string {
  const time = new Date().toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15)
  const what = `${name}-${version}`
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 40)
  return `${what}-${time}-${newId().slice(0, 4)}`
}

const nameOf = ({ kind, name, version }: Artifact): string => `${kind} ${name} ${version}`
