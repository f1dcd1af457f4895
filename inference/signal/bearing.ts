import { FaultlineError } from '@faultline/protocol'

/** Defect frequencies of a rolling bearing in orders: multiples of the shaft frequency, inner ring turning. */
export interface Bearing {
  /** Ball pass frequency, outer race: impacts per revolution from a defect of the outer race. */
  bpfo: number
  /** Ball pass frequency, inner race. */
  bpfi: number
  /** Ball spin frequency. A defect of a ball strikes both races: impacts come at twice this. */
  bsf: number
  /** Fundamental train frequency: that of the cage. */
  ftf: number
}

export interface BearingGeometry {
  /** Rolling elements in one row. */
  balls: number
  /** Diameter of a ball, in the unit of `pitchDiameter`. */
  ballDiameter: number
  pitchDiameter: number
  /** Contact angle in degrees; 0 for a deep-groove ball bearing under radial load. */
  contactAngleDeg?: number
}

/**
 * Kinematics of a bearing whose balls roll without slip (Randall & Antoni 2011, eqs. 1 to 4). Real frequencies differ
 * by 1 to 2 % because they do slip. Throws `CONFIG_INVALID` for a geometry that cannot be.
 */
export function bearingOf(geometry: BearingGeometry): Bearing {
  const { balls, ballDiameter, pitchDiameter, contactAngleDeg = 0 } = geometry
  if (!Number.isInteger(balls) || balls < 2)
    throw new FaultlineError('CONFIG_INVALID', `a bearing has 2 balls or more, not ${balls}`)
  if (!(ballDiameter > 0 && pitchDiameter > ballDiameter))
    throw new FaultlineError('CONFIG_INVALID', 'a bearing has a pitch diameter above its ball diameter, both positive')
  if (!(contactAngleDeg >= 0 && contactAngleDeg < 90))
    throw new FaultlineError('CONFIG_INVALID', `a contact angle lies in 0..90 degrees, not ${contactAngleDeg}`)
  const ratio = (ballDiameter / pitchDiameter) * Math.cos((contactAngleDeg * Math.PI) / 180)
  return {
    bpfo: (balls / 2) * (1 - ratio),
    bpfi: (balls / 2) * (1 + ratio),
    bsf: (pitchDiameter / (2 * ballDiameter)) * (1 - ratio * ratio),
    ftf: (1 - ratio) / 2,
  }
}

/** The same frequencies in Hz at a shaft speed in revolutions per second. */
export function frequenciesHz(bearing: Bearing, shaftHz: number): Bearing {
  return {
    bpfo: bearing.bpfo * shaftHz,
    bpfi: bearing.bpfi * shaftHz,
    bsf: bearing.bsf * shaftHz,
    ftf: bearing.ftf * shaftHz,
  }
}

/**
 * SKF 6205-2RS JEM, the drive-end bearing of the Case Western Reserve University rig. Multipliers from the data set's
 * bearing information page, which lists 4.7135 for the ball: the impact rate, twice the spin.
 */
export const skf6205: Bearing = { bpfo: 3.5848, bpfi: 5.4152, bsf: 4.7135 / 2, ftf: 0.39828 }

/** SKF 6203-2RS JEM, the bearing at the fan end of the same rig; multipliers from the same page. */
export const skf6203: Bearing = { bpfo: 3.053, bpfi: 4.9469, bsf: 3.9874 / 2, ftf: 0.3817 }
