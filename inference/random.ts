/** A generator's whole state: four 32-bit words, serialisable. */
export type RandomState = readonly [number, number, number, number]

/**
 * A seeded generator of uniform numbers: sfc32 (C. Doty-Humphrey, PractRand), four words of state, period at least
 * 2^32 and about 2^127 on average. Good for audits and simulation; not for secrets.
 */
export class Random {
  #a = 0
  #b = 0
  #c = 0
  #counter = 1
  #spare: number | undefined

  constructor(seed: number | RandomState) {
    if (typeof seed !== 'number') {
      this.#a = seed[0] >>> 0
      this.#b = seed[1] >>> 0
      this.#c = seed[2] >>> 0
      this.#counter = seed[3] >>> 0
      return
    }
    // Both halves of a seed beyond 32 bits count; the first rounds spread them over the state.
    this.#a = seed >>> 0
    this.#b = Math.floor(seed / 2 ** 32) >>> 0
    for (let i = 0; i < 12; i++) this.word()
  }

  /** The next 32 bits. */
  word(): number {
    const sum = (this.#a + this.#b + this.#counter) >>> 0
    this.#counter = (this.#counter + 1) >>> 0
    this.#a = (this.#b ^ (this.#b >>> 9)) >>> 0
    this.#b = (this.#c + (this.#c << 3)) >>> 0
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0
    return sum
  }

  /** Uniform in [0, 1). */
  uniform(): number {
    return this.word() / 2 ** 32
  }

  /** Standard normal, by Marsaglia's polar method, which gives two at a time. */
  normal(): number {
    if (this.#spare !== undefined) {
      const value = this.#spare
      this.#spare = undefined
      return value
    }
    let u = 0
    let v = 0
    let square = 0
    do {
      u = 2 * this.uniform() - 1
      v = 2 * this.uniform() - 1
      square = u * u + v * v
    } while (square >= 1 || square === 0)
    const factor = Math.sqrt((-2 * Math.log(square)) / square)
    this.#spare = v * factor
    return u * factor
  }

  /** The state of `uniform`; a normal number held back by `normal` is not part of it. */
  get state(): RandomState {
    return [this.#a, this.#b, this.#c, this.#counter]
  }
}
