import { Random, type Window } from '@faultline/inference'

/** The photographs that the models in `fixtures/` were trained on, made up as `fixtures/make.py` makes them. */
export const surfaceClasses = ['sound', 'rust', 'crack'] as const
export const SURFACE_SIZE = 32
const RUST = [150, 80, 40]

/** `count` photographs of each class in turn, 32 x 32 x RGB, with their class numbers. */
export function surfaces(count: number, seed: number): { window: Window; label: number }[] {
  const random = new Random(seed)
  return Array.from({ length: count }, (_, i) => {
    const label = i % surfaceClasses.length
    return { window: surface(surfaceClasses[label]!, random), label }
  })
}

function surface(kind: (typeof surfaceClasses)[number], random: Random): Window {
  const between = (low: number, high: number) => low + (high - low) * random.uniform()
  const level = between(100, 180)
  const rows = Array.from({ length: SURFACE_SIZE }, () => level + 6 * random.normal())
  const cast = Array.from({ length: 3 }, () => between(-6, 6))
  const rust = kind === 'rust' ? Array.from({ length: Math.floor(between(1, 4)) }, () => blob(between)) : []
  const crack = kind === 'crack' ? line(between) : undefined
  const samples: number[] = []
  for (let y = 0; y < SURFACE_SIZE; y++) {
    for (let x = 0; x < SURFACE_SIZE; x++) {
      const grey = rows[y]! + 4 * random.normal()
      for (let channel = 0; channel < 3; channel++) {
        let value = grey + cast[channel]!
        for (const share of rust) value = value * (1 - share(x, y)) + share(x, y) * RUST[channel]!
        if (crack) value *= 1 - crack(x, y)
        samples.push(Math.min(Math.max(Math.round(value), 0), 255))
      }
    }
  }
  return { samples: Float32Array.from(samples), shape: [SURFACE_SIZE, SURFACE_SIZE, 3], rateHz: 0 }
}

type Between = (low: number, high: number) => number
/** How much of something there is at a place, 0 to 1. */
type Share = (x: number, y: number) => number

function blob(between: Between): Share {
  const [centreY, centreX, radius] = [between(0, SURFACE_SIZE), between(0, SURFACE_SIZE), between(3, 9)]
  const strength = between(0.6, 1)
  return (x, y) => strength * Math.exp(-((Math.hypot(y - centreY, x - centreX) / radius) ** 2))
}

function line(between: Between): Share {
  const [angle, throughX, throughY, wave] = [between(0, Math.PI), between(10, 22), between(10, 22), between(3, 6)]
  const [width, darkness] = [between(0.7, 1.4), between(0.5, 0.9)]
  return (x, y) => {
    const offset = Math.cos(angle) * (x - throughX) + Math.sin(angle) * (y - throughY)
    return darkness * Math.exp(-(((offset + 2 * Math.sin((x + y) / wave)) / width) ** 2))
  }
}
