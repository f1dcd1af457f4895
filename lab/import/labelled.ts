import type { Window } from '@faultline/inference'

/** A window or an image with the number of its true class. */
export interface Labelled {
  window: Window
  label: number
}

/** Labelled examples that are read while they are gone through. */
export interface LabelledSet {
  count: number
  examples: AsyncIterable<Labelled>
}
