import { type Inference, unknownLabel } from '@faultline/protocol'

/** What the last inference of each point says of its machine: servers serve machines in trouble first. */
export class MachineFaults {
  private readonly normal: string | undefined
  /** Points whose last inference names a fault, by machine. */
  private readonly points = new Map<string, Set<string>>()

  /** `normal`: the class that is no fault; where a model knows none, its labels name no faults. */
  constructor(normal: string | undefined) {
    this.normal = normal
  }

  inferred(point: string, { machine, label }: Pick<Inference, 'machine' | 'label'>): void {
    if (this.normal === undefined) return
    const points = this.points.get(machine) ?? new Set()
    this.points.set(machine, points)
    if (label === this.normal || label === unknownLabel) points.delete(point)
    else points.add(point)
  }

  /** Whether a fault was last seen at any point of a machine. */
  has(machine: string): boolean {
    return (this.points.get(machine)?.size ?? 0) > 0
  }
}
