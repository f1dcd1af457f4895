/** How often answers of each confidence bin were asked about and found right, and what that proves. */
export class AccuracyBounds {
  asked: number[]
  right: number[]

  constructor(bins: number) {
    this.asked = new Array<number>(bins).fill(0)
    this.right = new Array<number>(bins).fill(0)
  }

  add(bin: number, isRight: boolean): void {
    this.asked[bin]!++
    if (isRight) this.right[bin]!++
  }

  /** Share of right answers in a bin; 1 where nobody asked: nothing speaks against them yet. */
  share(bin: number): number {
    const asked = this.asked[bin]!
    return asked === 0 ? 1 : this.right[bin]! / asked
  }

  /** Lower bound of a bin's accuracy, C / N - sqrt(spread / N), with spread = alpha ln t; -Infinity where nobody asked. */
  lower(bin: number, spread: number): number {
    const asked = this.asked[bin]!
    return asked === 0 ? Number.NEGATIVE_INFINITY : this.right[bin]! / asked - Math.sqrt(spread / asked)
  }

  /** The same where accuracy grows with confidence: a bound of a lower bin then holds for every higher one. */
  lowerMonotone(bin: number, spread: number): number {
    let largest = Number.NEGATIVE_INFINITY
    for (let i = 0; i <= bin; i++) {
      const bound = this.lower(i, spread)
      if (bound > largest) largest = bound
    }
    return largest
  }
}
