import type { Evidence } from '@faultline/inference'
import type { AgentPoint } from '../point-monitor.ts'
import { type Decider, type PolicyChoice, PolicyKeeper, type PolicyKeeperOptions } from './policy-keeper.ts'

/** The policies of a device: one for the points of each machine type, and one for those that name none. */
export class Policies {
  private readonly keepers = new Map<string | undefined, PolicyKeeper>()
  private readonly byPoint = new Map<string, PolicyKeeper>()

  constructor(points: readonly AgentPoint[], options: Omit<PolicyKeeperOptions, 'machineType'>) {
    for (const { point, machineType } of points) {
      // Of the lots: policies that drew alike would explore and audit in the same moment.
      const seed = options.seed + this.keepers.size
      const keeper = this.keepers.get(machineType) ?? new PolicyKeeper({ ...options, machineType, seed })
      this.keepers.set(machineType, keeper)
      this.byPoint.set(point, keeper)
    }
  }

  get machineTypes(): string[] {
    return [...this.keepers.keys()].filter(type => type !== undefined)
  }

  /** Puts a policy in force everywhere. Throws the errors of `createPolicy` before anything has changed. */
  use(choice: PolicyChoice): void {
    for (const keeper of this.keepers.values()) keeper.use(choice)
  }

  of(point: string): Decider {
    return this.byPoint.get(point)!
  }

  /** Evidence that others have not heard of yet, by machine type. */
  untold(): [machineType: string, evidence: Evidence][] {
    return this.machineTypes.flatMap(type => {
      const evidence = this.keepers.get(type)!.untold()
      return evidence ? [[type, evidence] as [string, Evidence]] : []
    })
  }

  /** Begins with what like machines have taught others, where a policy has nothing of its own; true then. Never throws. */
  adopt(machineType: string, evidence: Evidence): boolean {
    return this.keepers.get(machineType)?.adopt(evidence) ?? false
  }

  save(): void {
    for (const keeper of this.keepers.values()) keeper.save()
  }
}
