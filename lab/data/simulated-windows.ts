import { type Bearing, type BearingClass, BearingSimulator, bearingClasses, type Random } from '@faultline/inference'
import { type LabelledWindow, wantedOf } from './windows.ts'

/** Windows taken from one simulated machine; more of them would only repeat it. */
const WINDOWS_PER_MACHINE = 6

/**
 * `perClass` windows of each fault, more of normal, from simulated machines of all sorts: shaft 20 to 35 Hz, faults from hardly visible
 * to severe, and whatever else a rig decides (resonance, damping, noise, imbalance, slip) drawn anew for each machine. The
 * bearing is the CWRU rig's unless another is given.
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
      const simulator = anyMachine(fault, signal.rateHz, random, bearing)
      const origin = `simulated-${fault}-${machine}`
      return Array.from({ length: WINDOWS_PER_MACHINE }, () => windowOf(simulator, signal, origin, bearing))
    })
    return machines.flat().slice(0, wanted)
  })
}

function anyMachine(fault: BearingClass, rateHz: number, random: Random, bearing?: Bearing): BearingSimulator {
  const between = (low: number, high: number) => low + (high - low) * random.uniform()
  const shaking = between(0.3, 2)
  const severity = between(0.15, 1)
  return new BearingSimulator({
    rateHz,
    shaftHz: between(20, 35),
    fault,
    bearing,
    seed: Math.floor(random.uniform() * 2 ** 31),
    severity: () => severity,
    noiseG: between(0.03, 0.08),
    harmonicsG: [0.03 * shaking, 0.02 * shaking * between(0.5, 1.5), 0.01 * shaking * between(0.5, 1.5)],
    impactG: between(1, 3),
    resonanceHz: rateHz * between(0.17, 0.38),
    damping: between(0.02, 0.08),
    slip: between(0.005, 0.015),
  })
}

function windowOf(
  simulator: BearingSimulator,
  { samples, rateHz }: { samples: number; rateHz: number },
  origin: string,
  bearing?: Bearing,
): LabelledWindow {
  const window = { samples: simulator.next(samples), shape: [samples], rateHz, shaftHz: simulator.shaftHz }
  return { window, class: simulator.fault, origin, ...(bearing ? { bearing } : {}) }
}
