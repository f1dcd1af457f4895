import {
  type Bearing,
  type BearingClass,
  BearingSimulator,
  bearingClasses,
  type Random,
  type Window,
} from '@faultline/inference'
import { anyBearing, between } from './augmentation.ts'
import { type LabelledWindow, wantedOf } from './windows.ts'

/** Windows taken from one simulated machine; more of them would only repeat it. */
const WINDOWS_PER_MACHINE = 6

/**
 * `perClass` windows of each fault, more of normal, from simulated machines of all sorts: shaft 12 to 40 Hz, faults from
 * hardly visible to severe, and whatever else a rig decides (bearing, resonance, damping, noise, imbalance, slip, what hums beside it)
 * drawn anew for each machine.
 * @param bearing Of every machine; any when absent.
 */
export function simulatedWindows(
  perClass: number,
  signal: { samples: number; rateHz: number },
  random: Random,
  bearing?: Bearing,
): LabelledWindow[] {
  return bearingClasses.flatMap(fault => {
    const wanted = wantedOf(fault, perClass)
    const machines = Array.from({ length: Math.ceil(wanted / WINDOWS_PER_MACHINE) }, (_, machine) => {
      const own = bearing ?? anyBearing(random)
      const simulator = anyMachine(fault, signal.rateHz, own, random)
      const hum = anyHum(random)
      return Array.from({ length: WINDOWS_PER_MACHINE }, () => ({
        window: withHum(hum, windowOf(simulator, signal), random),
        class: fault,
        origin: `simulated-${fault}-${machine}`,
        bearing: own,
      }))
    })
    return machines.flat().slice(0, wanted)
  })
}

function anyMachine(fault: BearingClass, rateHz: number, bearing: Bearing, random: Random): BearingSimulator {
  const shaking = between(random, 0.3, 2)
  const severity = between(random, 0.15, 1)
  return new BearingSimulator({
    rateHz,
    shaftHz: between(random, 12, 40),
    fault,
    bearing,
    seed: Math.floor(random.uniform() * 2 ** 31),
    severity: () => severity,
    noiseG: between(random, 0.03, 0.08),
    harmonicsG: [
      0.03 * shaking,
      0.02 * shaking * between(random, 0.5, 1.5),
      0.01 * shaking * between(random, 0.5, 1.5),
    ],
    impactG: between(random, 1, 3),
    resonanceHz: rateHz * between(random, 0.17, 0.38),
    damping: between(random, 0.02, 0.08),
    slip: between(random, 0.005, 0.015),
  })
}

/** A tone from elsewhere in the machine: gears, a fan, the mains. */
interface Tone {
  hz: number
  amplitudeG: number
  /** Depth of its modulation, 0..1, and the order of the shaft it follows. */
  depth: number
  order: number
}

/** Share of machines with nothing but their bearing to be heard. */
const SILENT = 0.3

function anyHum(random: Random): Tone[] {
  if (random.uniform() < SILENT) return []
  return Array.from({ length: 1 + Math.floor(4 * random.uniform()) }, () => ({
    hz: 100 * 50 ** random.uniform(),
    amplitudeG: 0.02 * 8 ** random.uniform(),
    depth: random.uniform() < 0.5 ? 0 : random.uniform(),
    order: 1 + Math.floor(2 * random.uniform()),
  }))
}

function withHum(hum: readonly Tone[], window: Window, random: Random): Window {
  const samples = Float32Array.from(window.samples)
  for (const { hz, amplitudeG, depth, order } of hum) {
    const phase = 2 * Math.PI * random.uniform()
    const step = (2 * Math.PI * hz) / window.rateHz
    const turn = (2 * Math.PI * order * window.shaftHz!) / window.rateHz
    for (let i = 0; i < samples.length; i++)
      samples[i]! += amplitudeG * (1 + depth * Math.sin(turn * i)) * Math.sin(step * i + phase)
  }
  return { ...window, samples }
}

function windowOf(simulator: BearingSimulator, { samples, rateHz }: { samples: number; rateHz: number }): Window {
  return { samples: simulator.next(samples), shape: [samples], rateHz, shaftHz: simulator.shaftHz }
}
