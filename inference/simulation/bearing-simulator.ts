import { FaultlineError } from '@faultline/protocol'
import { Random } from '../random.ts'
import type { BearingClass } from '../recordings/recording.ts'
import { type Bearing, skf6205 } from '../signal/bearing.ts'
import type { Severity } from './severity.ts'

export interface SimulatorOptions {
  rateHz: number
  /** Mean shaft speed in revolutions per second. */
  shaftHz: number
  fault: BearingClass
  seed: number
  bearing?: Bearing
  /** 0..1 over time; always 1 when absent. Has no effect on a sound bearing. */
  severity?: Severity
  /** RMS of the white noise in g. */
  noiseG?: number
  /** Amplitudes in g of the first three shaft harmonics: imbalance, misalignment, looseness. */
  harmonicsG?: readonly [number, number, number]
  /** Amplitude in g that one impact excites in the load zone at severity 1. */
  impactG?: number
  /** The resonance that impacts excite. */
  resonanceHz?: number
  /** Its damping as a share of critical. */
  damping?: number
  /** Standard deviation of the interval between impacts, as a share of it. */
  slip?: number
  /** Standard deviation of the shaft speed, as a share of it. */
  speedRipple?: number
}

/** Share of the speed's deviation kept from one revolution to the next: a rotor's speed wanders slowly. */
const SPEED_MEMORY = 0.95
/** Scatter of the amplitude from one impact to the next. */
const IMPACT_SCATTER = 0.1

/**
 * The vibration of a rolling bearing in g, as one accelerometer on its housing sees it.
 *
 * A defect strikes once per passing ball; each strike makes the housing ring at a resonance that dies away. Strikes of an
 * inner-race defect are as strong as the load where it stands, which turns with the shaft; those of a ball defect
 * follow the cage (McFadden & Smith 1984, doi 10.1016/0022-460X(84)90595-9). Balls slip, so intervals scatter
 * independently of each other (Antoni & Randall 2003, doi 10.1115/1.1569940). Shaft harmonics and white noise lie
 * below it all.
 *
 * `next` continues where the last call ended. The same options give the same samples.
 */
export class BearingSimulator {
  readonly rateHz: number
  readonly #nominalHz: number
  readonly #fault: BearingClass
  readonly #severity: Severity
  readonly #noiseG: number
  readonly #harmonicsG: readonly [number, number, number]
  readonly #impactG: number
  readonly #slip: number
  readonly #speedRipple: number
  /** Impacts per revolution; 0 for a sound bearing. */
  readonly #impactOrder: number
  /** Turns of the load zone past the defect per revolution. */
  readonly #loadOrder: number
  /** One sample of the resonance: angle in radians and logarithm of the decay. */
  readonly #ringAngle: number
  readonly #ringDecay: number
  // Noise, shaft and impacts draw from generators of their own, so that a fault does not change the background.
  readonly #noise: Random
  readonly #shaftRandom: Random
  readonly #impactRandom: Random

  #samples = 0
  /** Revolutions since the start. */
  #revolutions = 0
  #shaftHz: number
  #meanShaftHz: number
  #speedDeviation = 0
  #nextImpact: number
  /** Shaft phase as a point on the unit circle, the resonance as a turning and shrinking one. */
  #shaft = { cos: 1, sin: 0 }
  #ring = { cos: 0, sin: 0 }

  constructor(options: SimulatorOptions) {
    const { rateHz, shaftHz, fault, seed, bearing = skf6205, damping = 0.04 } = options
    const resonanceHz = options.resonanceHz ?? Math.min(3_200, rateHz * 0.3)
    if (!(rateHz > 0 && shaftHz > 0 && resonanceHz > 0 && resonanceHz < rateHz / 2 && damping > 0 && damping < 1))
      throw new FaultlineError(
        'CONFIG_INVALID',
        'a simulation takes positive rates, a resonance below half the sampling rate and a damping between 0 and 1',
      )
    this.rateHz = rateHz
    this.#nominalHz = shaftHz
    this.#shaftHz = shaftHz
    this.#meanShaftHz = shaftHz
    this.#fault = fault
    this.#severity = options.severity ?? (() => 1)
    this.#noiseG = options.noiseG ?? 0.05
    this.#harmonicsG = options.harmonicsG ?? [0.03, 0.02, 0.01]
    this.#impactG = options.impactG ?? 2
    this.#slip = options.slip ?? 0.01
    this.#speedRipple = options.speedRipple ?? 0.002
    const kinematics = {
      normal: { impacts: 0, load: 0 },
      'outer-race': { impacts: bearing.bpfo, load: 0 },
      'inner-race': { impacts: bearing.bpfi, load: 1 },
      ball: { impacts: 2 * bearing.bsf, load: bearing.ftf },
    }[fault]
    this.#impactOrder = kinematics.impacts
    this.#loadOrder = kinematics.load
    this.#ringAngle = (2 * Math.PI * resonanceHz * Math.sqrt(1 - damping * damping)) / rateHz
    this.#ringDecay = (-2 * Math.PI * resonanceHz * damping) / rateHz
    this.#noise = new Random(seed)
    this.#shaftRandom = new Random(seed + 2 ** 32)
    this.#impactRandom = new Random(seed + 2 ** 33)
    const startAngle = 2 * Math.PI * this.#shaftRandom.uniform()
    this.#shaft = { cos: Math.cos(startAngle), sin: Math.sin(startAngle) }
    this.#nextImpact =
      this.#impactOrder > 0 ? this.#impactRandom.uniform() / this.#impactOrder : Number.POSITIVE_INFINITY
  }

  get fault(): BearingClass {
    return this.#fault
  }

  /** Time simulated so far. */
  get seconds(): number {
    return this.#samples / this.rateHz
  }

  /** Mean shaft speed over the samples of the last `next`, as a tachometer would give it; the nominal one before. */
  get shaftHz(): number {
    return this.#meanShaftHz
  }

  /** How bad the fault is now: 0 for a sound bearing. */
  get severity(): number {
    return this.#fault === 'normal' ? 0 : Math.min(1, Math.max(0, this.#severity(this.seconds)))
  }

  /** The next `samples` samples in g. */
  next(samples: number): Float32Array {
    const output = new Float32Array(samples)
    const [first, second, third] = this.#harmonicsG
    const shrink = Math.exp(this.#ringDecay)
    const ringCos = shrink * Math.cos(this.#ringAngle)
    const ringSin = shrink * Math.sin(this.#ringAngle)
    const startRevolutions = this.#revolutions
    let { cos, sin } = this.#shaft
    let { cos: ring, sin: ringing } = this.#ring
    let step = this.#shaftHz / this.rateHz
    let stepCos = Math.cos(2 * Math.PI * step)
    let stepSin = Math.sin(2 * Math.PI * step)

    for (let i = 0; i < samples; i++) {
      const before = this.#revolutions
      this.#revolutions = before + step
      const turned = cos * stepCos - sin * stepSin
      sin = sin * stepCos + cos * stepSin
      cos = turned
      const rung = ring * ringCos - ringing * ringSin
      ringing = ringing * ringCos + ring * ringSin
      ring = rung
      while (this.#nextImpact <= this.#revolutions) {
        // The strike falls between two samples: the ring has gone on for the rest of the way.
        const late = (this.#revolutions - this.#nextImpact) / step
        const amplitude = this.#strike() * Math.exp(this.#ringDecay * late)
        ring += amplitude * Math.cos(this.#ringAngle * late)
        ringing += amplitude * Math.sin(this.#ringAngle * late)
      }
      // Double and triple angle instead of two more sines.
      const harmonics = first * sin + second * 2 * sin * cos + third * sin * (3 - 4 * sin * sin)
      output[i] = harmonics + ringing + this.#noiseG * this.#noise.normal()
      this.#samples++
      if (Math.floor(this.#revolutions) !== Math.floor(before)) {
        step = this.#changeSpeed() / this.rateHz
        stepCos = Math.cos(2 * Math.PI * step)
        stepSin = Math.sin(2 * Math.PI * step)
        // Rounding would let the phase's length drift over days.
        const length = Math.hypot(cos, sin)
        cos /= length
        sin /= length
      }
    }
    this.#shaft = { cos, sin }
    this.#ring = { cos: ring, sin: ringing }
    if (samples > 0) this.#meanShaftHz = ((this.#revolutions - startRevolutions) * this.rateHz) / samples
    return output
  }

  /** The amplitude of the strike due now; sets when the next one comes. */
  #strike(): number {
    const load = this.#loadOrder > 0 ? loadAt(2 * Math.PI * this.#loadOrder * this.#nextImpact) : 1
    const scatter = Math.max(0, 1 + IMPACT_SCATTER * this.#impactRandom.normal())
    // An interval far out in the tail of its distribution must not run backwards.
    const interval = Math.max(0.5, 1 + this.#slip * this.#impactRandom.normal()) / this.#impactOrder
    this.#nextImpact += interval
    return this.#impactG * this.severity * load * scatter
  }

  #changeSpeed(): number {
    const innovation = this.#speedRipple * Math.sqrt(1 - SPEED_MEMORY ** 2) * this.#shaftRandom.normal()
    this.#speedDeviation = SPEED_MEMORY * this.#speedDeviation + innovation
    this.#shaftHz = this.#nominalHz * Math.max(0.5, 1 + this.#speedDeviation)
    return this.#shaftHz
  }
}

/** Stribeck's load distribution of a ball bearing without clearance, 1 in the middle of the load zone, 0 opposite. */
function loadAt(angle: number): number {
  return ((1 + Math.cos(angle)) / 2) ** 1.5
}
