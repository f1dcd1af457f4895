import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { FaultlineError } from '@faultline/protocol'
import { writeAgentPrograms } from '@faultline/provisioning'

const repository = join(import.meta.dirname, '..')
/** The kernel counts processor time in hundredths of a second. */
const ticksPerS = 100

/**
 * The device agent as its package installs it: bundled programs, started with the flags of the launcher and the environment of
 * the unit file, on the Node.js of this process. Linux alone.
 */
export class InstalledAgent {
  readonly directory: string
  /** Of Node.js, as the launcher has them. */
  flags: readonly string[] = []
  private environment: Record<string, string> = {}
  private child: ChildProcess | undefined

  constructor(directory: string) {
    this.directory = directory
  }

  get model(): string {
    return join(this.directory, 'models/bearing-local')
  }

  /** Bundles it, and the bare model to compare it with. */
  async install(): Promise<void> {
    await writeAgentPrograms(this.directory, { bare: 'bench/bare-model.ts' })
    await symlink(join(repository, 'node_modules'), join(this.directory, 'node_modules'))
    const launcher = await readFile(join(this.directory, 'launch.sh'), 'utf8')
    const command = /bin\/node"\s+\\?\s*(--.*) "\S+agent\.js"/.exec(launcher)
    if (!command) throw new FaultlineError('INTERNAL', 'the launcher starts no agent.js')
    this.flags = command[1]!.split(' ')
    const unit = await readFile(join(this.directory, 'faultline-device-agent.service'), 'utf8')
    for (const [, name, value] of unit.matchAll(/^Environment=(\w+)=(.*)$/gm)) this.environment[name!] = value!
  }

  /** Resident memory in bytes after so many windows by the model alone, in a process that is started alike. */
  async bareMemory(windows: number): Promise<number> {
    const args = [...this.flags, join(this.directory, 'bare.js'), this.model, String(windows)]
    const { stdout } = await promisify(execFile)(process.execPath, args, { env: this.variables })
    return Number(stdout)
  }

  /** Starts it. `configuration` is what its file holds, which JSON is as good for as YAML. */
  async start(configuration: object): Promise<void> {
    const file = join(this.directory, 'device.yaml')
    await writeFile(file, JSON.stringify(configuration))
    const args = [...this.flags, join(this.directory, 'agent.js'), '--config', file]
    this.child = spawn(process.execPath, args, { env: this.variables, stdio: ['ignore', 'ignore', 'inherit'] })
  }

  async stop(): Promise<void> {
    const child = this.child
    this.child = undefined
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    child.kill('SIGTERM')
    await ended
  }

  /** Resident memory in bytes. */
  async memory(): Promise<number> {
    return 1_024 * Number(/^VmRSS:\s+(\d+) kB/m.exec(await this.read('status'))![1])
  }

  /** Processor time so far, in seconds. */
  async processorS(): Promise<number> {
    // proc(5): fields 14 and 15, the time in user and kernel mode, counted behind the name in parentheses.
    const fields = (await this.read('stat')).split(') ')[1]!.split(' ')
    return (Number(fields[11]) + Number(fields[12])) / ticksPerS
  }

  private get variables(): NodeJS.ProcessEnv {
    return { ...process.env, FAULTLINE_LOG_LEVEL: 'warn', ...this.environment }
  }

  private async read(name: string): Promise<string> {
    if (!this.child || this.child.exitCode !== null) throw new FaultlineError('INTERNAL', 'the agent has ended')
    return readFile(`/proc/${this.child.pid}/${name}`, 'utf8')
  }
}
