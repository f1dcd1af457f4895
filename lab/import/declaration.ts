import type { BundleDescription } from '@faultline/inference'

/** How pixels 0..255 become network inputs: `(x * scale - mean) / std`, one mean and std or one for each channel. */
export interface PixelScaling {
  scale: number
  mean: readonly number[]
  std: readonly number[]
}

/** What a model was trained on, as its owner says; the rest is read from its file. */
export type DeclaredInput =
  | {
      kind: 'features'
      samples: number
      rateHz: number
      features: readonly string[]
      /** One value, or one for each feature. */
      mean: readonly number[]
      scale: readonly number[]
    }
  | {
      kind: 'signal'
      samples: number
      rateHz: number
      representation: string
      mean: number
      scale: number
    }
  | {
      kind: 'image'
      /** Read from the model's shape where that leaves no doubt. */
      layout?: 'hwc' | 'chw'
      /** Height and width, where the file leaves them open. */
      size?: readonly [number, number]
      pixels: PixelScaling
    }

export interface Declaration
  extends Pick<BundleDescription, 'name' | 'version' | 'task' | 'role' | 'classes' | 'normal' | 'output'> {
  input: DeclaredInput
}
