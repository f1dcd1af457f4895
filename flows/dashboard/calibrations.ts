import { type BundleDescription, describeBundle } from '@faultline/inference'

/** What a bundle says of how far its model is to be believed. */
export interface Calibration {
  name: string
  version: string
  digest: string
  normal?: string
  temperature: number
  /** Confidence below which escalating pays at a price of 0.2. */
  threshold?: number
  reliability?: BundleDescription['calibration']['reliability']
}

/** The calibrations of bundles, by digest. Throws `BUNDLE_UNREADABLE`, `BUNDLE_INVALID` or `FEATURE_UNKNOWN`. */
export async function readCalibrations(directories: readonly string[]): Promise<Map<string, Calibration>> {
  const bundles = await Promise.all(directories.map(directory => describeBundle(directory)))
  return new Map(
    bundles.map(({ digest, description: { name, version, normal, calibration } }) => {
      const { temperature, threshold, reliability } = calibration
      return [digest, { name, version, digest, normal, temperature, threshold, reliability }]
    }),
  )
}
