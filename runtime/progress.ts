import { SingleBar } from 'cli-progress'

/** Shows how far a long task is: a bar on a terminal, a line now and then elsewhere. Writes to standard error. */
export class Progress {
  readonly #label: string
  readonly #total: number
  readonly #bar: SingleBar | undefined
  #nextLine = 0

  constructor(label: string, total: number, stream: NodeJS.WriteStream = process.stderr) {
    this.#label = label
    this.#total = total
    if (!stream.isTTY) return
    const format = `${label.padEnd(28)} {bar} {percentage}% {detail}`
    this.#bar = new SingleBar({ format, stream, hideCursor: true, barsize: 24 })
    this.#bar.start(total, 0, { detail: '' })
  }

  update(done: number, detail = ''): void {
    this.#bar?.update(done, { detail })
    if (this.#bar || done < this.#nextLine) return
    // Ten lines for a whole task are enough for a log.
    this.#nextLine = done + this.#total / 10
    process.stderr.write(`${this.#label}: ${done}/${this.#total} ${detail}\n`)
  }

  stop(): void {
    this.#bar?.stop()
  }
}
