import { z } from 'zod'
import { type Bearing, bearingOf, skf6203, skf6205 } from './bearing.ts'

const known = { 'skf-6203': skf6203, 'skf-6205': skf6205 } as const

/** Bearings that have a name here. */
export const knownBearings = Object.keys(known) as (keyof typeof known)[]

const positive = z.number().positive()

const geometry = z
  .strictObject({
    balls: z.int().min(2).describe('Rolling elements in one row'),
    ballDiameterMm: positive.describe('Diameter of a rolling element in mm'),
    pitchDiameterMm: positive.describe('Diameter of the circle their centres run on, in mm'),
    contactAngleDeg: z.number().min(0).lt(90).default(0).describe('0 for a deep-groove ball bearing under radial load'),
  })
  .refine(({ ballDiameterMm, pitchDiameterMm }) => pitchDiameterMm > ballDiameterMm, {
    path: ['pitchDiameterMm'],
    message: 'has to be larger than ballDiameterMm',
  })

/** A bearing as bundles and configurations describe it: one that is known by name, or its geometry. */
export const bearingDescription = z.union([z.enum(knownBearings), geometry])
export type BearingDescription = z.infer<typeof bearingDescription>

/** The defect frequencies of a described bearing, in orders. */
export function bearingFrom(description: BearingDescription): Bearing {
  if (typeof description === 'string') return known[description]
  const { ballDiameterMm, pitchDiameterMm, ...others } = description
  return bearingOf({ ...others, ballDiameter: ballDiameterMm, pitchDiameter: pitchDiameterMm })
}
