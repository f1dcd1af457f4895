import type { Graph } from './graph.ts'

/** Where a tensor keeps its channels: last as in TF.js, or first after the batch as ONNX' convolutions want them. */
export type Layout = 'last' | 'first'

/** A shape of TF.js' layout in another, without the batch. */
export function extentsIn(layout: Layout, shape: readonly number[]): readonly number[] {
  return layout === 'last' || shape.length < 2 ? shape : [shape.at(-1)!, ...shape.slice(0, -1)]
}

/**
 * A tensor of the graph in one layout, and in the other once somebody has asked for it: a chain of convolutions is
 * transposed at its two ends only.
 */
export class Value {
  readonly #graph: Graph
  /** In TF.js' layout, without the batch. */
  readonly shape: readonly number[]
  /** The layout it was made in. */
  readonly layout: Layout
  readonly #names: Partial<Record<Layout, string>>

  constructor(graph: Graph, shape: readonly number[], layout: Layout, name: string) {
    this.#graph = graph
    this.shape = shape
    // Without a dimension beside the channels the two are the same.
    this.layout = shape.length < 2 ? 'last' : layout
    this.#names = { [this.layout]: name }
  }

  /** Its name in a layout; transposes where it is not there yet. */
  as(layout: Layout): string {
    const known = this.#names[layout] ?? (this.shape.length < 2 ? this.#names.last : undefined)
    if (known) return known
    const spatial = this.shape.slice(1).map((_, i) => i)
    const perm =
      layout === 'first' ? [0, this.shape.length, ...spatial.map(i => i + 1)] : [0, ...spatial.map(i => i + 2), 1]
    const name = this.#graph.add('Transpose', [this.as(this.layout)], { perm: { ints: perm } })
    this.#names[layout] = name
    return name
  }

  /** What TF.js calls `axis` (the batch being 0, negative from the end), in a layout. */
  axis(axis: number, layout: Layout): number {
    const rank = this.shape.length + 1
    const positive = axis < 0 ? axis + rank : axis
    if (layout === 'last' || rank < 3) return positive
    return positive === rank - 1 ? 1 : positive + 1
  }
}
