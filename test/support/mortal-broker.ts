import { EventEmitter } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BrokerConfig, BrokerLimits } from '@faultline/broker'
import { type RunningProgram, startScript } from './processes.ts'

type Entries = Partial<Omit<BrokerConfig, 'limits'>> & { limits?: Partial<BrokerLimits> }

interface MortalBrokerEvents {
  /** It ended without being killed. */
  ended: [output: string]
}

/** A broker in a process of its own that is killed as often as one likes; it keeps its port. */
export class MortalBroker extends EventEmitter<MortalBrokerEvents> {
  port = 0
  private readonly t: Parameters<typeof startScript>[0]
  private readonly file: string
  private readonly entries: Entries
  private readonly env: NodeJS.ProcessEnv
  private program: RunningProgram | undefined

  /** With the file of its configuration in a directory that exists. */
  constructor(
    t: Parameters<typeof startScript>[0],
    directory: string,
    entries: Entries,
    name = 'broker',
    env: NodeJS.ProcessEnv = {},
  ) {
    super()
    this.t = t
    this.file = join(directory, `${name}.yaml`)
    this.entries = entries
    this.env = env
  }

  /** Resolves once it listens; rejects when it ends before. */
  async start(): Promise<void> {
    await this.spawn()
    await this.listening()
  }

  /** Resolves while it is still starting. */
  async spawn(): Promise<void> {
    await writeFile(this.file, JSON.stringify({ ...this.entries, port: this.port })) // JSON is YAML.
    const program = startScript(this.t, 'broker/main.ts', ['--config', this.file], this.env)
    this.program = program
    program.child.once('close', () => {
      if (this.program !== program) return
      this.program = undefined
      this.emit('ended', program.output)
    })
  }

  async listening(): Promise<void> {
    if (!this.program) throw new Error('the broker does not run')
    const [, port] = await this.program.said(/"port":(\d+)/, 60_000)
    this.port = Number(port)
  }

  async kill(): Promise<void> {
    const { program } = this
    this.program = undefined
    await program?.stop('SIGKILL')
  }
}
