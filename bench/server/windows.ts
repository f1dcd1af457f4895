import { BearingSimulator, type Bundle, imageExtents, Random, type Window } from '@faultline/inference'

/** A window such as a model takes: simulated vibration, or an image of noise. */
export function windowFor({ description }: Bundle): Window {
  const { input } = description
  if (input.kind === 'image') {
    const random = new Random(1)
    const shape = imageExtents(input)
    const values = shape.reduce((product, extent) => product * extent, 1)
    return {
      samples: Float32Array.from({ length: values }, () => Math.floor(256 * random.uniform())),
      shape,
      rateHz: 0,
    }
  }
  const simulator = new BearingSimulator({ rateHz: input.rateHz, shaftHz: 29.5, fault: 'inner-race', seed: 1 })
  const samples = simulator.next(input.samples)
  return { samples, shape: [samples.length], rateHz: input.rateHz, shaftHz: simulator.shaftHz }
}
