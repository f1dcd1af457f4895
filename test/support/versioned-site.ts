import { chmod, copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Identity, identityOf } from '@faultline/protocol'
import { stringify } from 'yaml'
import { freePort, type RunningProgram, root, startScript } from './processes.ts'

/** What a site runs; two devices. */
export const componentNames = ['broker', 'recorder', 'flows', 'server', 'pi-1', 'pi-2'] as const
export type ComponentName = (typeof componentNames)[number]

interface Test {
  after(callback: () => Promise<void>): void
}

/** The part of `provisioning/` that every version has. */
interface Provisioning {
  Registry: new (
    path: string,
  ) => { start(): Promise<void>; stop(): Promise<void>; enroll(identity: Identity): Promise<{ secret: string }> }
}

export interface VersionedSiteOptions {
  directory: string
  /** Root of the code that enrols; it runs everything that no other is named for. */
  code?: string
  /** Machine time relative to real time. */
  speed: number
  /** Machine time from one window to the next. */
  intervalMs: number
}

const site = 'plant-a'

/** By name: the identity, the entry point, and what it says when it works. */
const programs: Record<ComponentName, { identity?: Identity; entry: string; ready: RegExp }> = {
  broker: { entry: 'broker/main.ts', ready: /broker listens/ },
  recorder: {
    identity: identityOf('recorder', 'main'),
    entry: 'telemetry/main.ts',
    ready: /connected to the broker/,
  },
  flows: {
    identity: identityOf('flows', 'main'),
    entry: 'flows/main.ts',
    ready: /flows running[\s\S]*connected to the broker|connected to the broker[\s\S]*flows running/,
  },
  server: { identity: identityOf('server', 'hall-1'), entry: 'server-agent/main.ts', ready: /connected to the broker/ },
  'pi-1': {
    identity: identityOf('device', site, 'pi-1'),
    entry: 'device-agent/main.ts',
    ready: /connected to the broker/,
  },
  'pi-2': {
    identity: identityOf('device', site, 'pi-2'),
    entry: 'device-agent/main.ts',
    ready: /connected to the broker/,
  },
}

/** A flow of a user's own beside the shipped one: what a program acknowledges at once, here all alarms of one machine. */
const ownFlow = [
  { id: 'own-tab', type: 'tab', label: 'Own' },
  {
    id: 'own-acknowledge',
    type: 'function',
    z: 'own-tab',
    name: 'acknowledge for motor-1',
    func: `const { site, machine, fault } = msg.payload
if (msg.change !== 'raised' || machine !== 'motor-1') return null
return { topic: 'acknowledge', payload: { site, machine, fault, by: 'own flow' } }`,
    outputs: 1,
    wires: [['fl-alarm']],
  },
]

/** A plant in one directory whose components are processes, each run by the code of any version. */
export class VersionedSite {
  readonly directory: string
  /** Everything that its programs ever said, by component. */
  readonly outputs = new Map<ComponentName, RunningProgram[]>()
  readonly secrets = new Map<string, string>()
  readonly url: string
  private readonly codes = new Map<ComponentName, string>()
  private readonly t: Test
  private readonly options: VersionedSiteOptions
  private readonly code: string

  private constructor(t: Test, options: VersionedSiteOptions, port: number) {
    this.t = t
    this.options = options
    this.directory = options.directory
    this.code = options.code ?? root
    this.url = `mqtt://127.0.0.1:${port}`
  }

  static async create(t: Test, options: VersionedSiteOptions): Promise<VersionedSite> {
    const created = new VersionedSite(t, options, await freePort())
    await created.enrol()
    await created.configure()
    return created
  }

  /** Identity of an operator who may keep a stored session. */
  get watcher(): { identity: Identity; secret: string; url: string } {
    const identity = identityOf('operator', 'watcher')
    return { identity, secret: this.secrets.get(identity.name)!, url: this.url }
  }

  configurationOf = (name: string): string => join(this.directory, 'configuration', `${name}.yaml`)

  /** Starts a component with the code of a version, and waits until it says that it works. */
  async start(name: ComponentName, code = this.code): Promise<void> {
    const { entry } = programs[name]
    this.codes.set(name, code)
    const args = ['--config', this.configurationOf(name)]
    const started = startScript(this.t, entry, args, { NODE_TEST_CONTEXT: undefined }, code)
    this.outputs.set(name, [...(this.outputs.get(name) ?? []), started])
    await started.said(programs[name].ready)
  }

  /** Root of the code that a component was started with last. */
  codeOf = (name: ComponentName): string => this.codes.get(name) ?? this.code

  async stop(name: ComponentName): Promise<void> {
    const running = this.outputs.get(name)?.at(-1)
    const code = await running?.stop()
    if (code !== 0) throw new Error(`${name} ended with ${code}:\n${running?.output.slice(-3_000)}`)
  }

  /** Adds the flow of a user's own to the one that is saved; flows must have run once, and be stopped. */
  async addOwnFlow(): Promise<void> {
    const path = join(this.directory, 'node-red', 'flows.json')
    const saved = JSON.parse(await readFile(path, 'utf8')) as { id: string; wires?: string[][] }[]
    saved.find(({ id }) => id === 'fl-alarm')!.wires![0]!.push('own-acknowledge')
    await writeFile(path, JSON.stringify([...saved, ...ownFlow], null, 1))
  }

  /** Puts back the flows from before this version changed them, as the guide has it for a roll-back. */
  async putBackFlows(): Promise<void> {
    const directory = join(this.directory, 'node-red')
    const backup = (await readdir(directory))
      .filter(name => /^flows\.json\..*\.backup$/.test(name))
      .sort()
      .at(-1)
    if (backup !== undefined) await copyFile(join(directory, backup), join(directory, 'flows.json'))
  }

  /** Lines in which a program said that it refused a message, and those that are errors. */
  complaints(): string[] {
    return [...this.outputs].flatMap(([name, runs]) =>
      runs.flatMap(({ output }) =>
        output
          .split('\n')
          .filter(line => /message refused|"level":(50|60)|MESSAGE_[A-Z]+/.test(line))
          .map(line => `${name}: ${line}`),
      ),
    )
  }

  private async enrol(): Promise<void> {
    const { Registry } = (await import(join(this.code, 'provisioning/index.ts'))) as Provisioning
    await mkdir(join(this.directory, 'configuration'), { recursive: true })
    const registry = new Registry(join(this.directory, 'registry.db'))
    await registry.start()
    try {
      const identities = Object.values(programs).flatMap(({ identity }) => identity ?? [])
      for (const identity of [...identities, identityOf('recorder', 'spare'), identityOf('operator', 'watcher')])
        this.secrets.set(identity.name, (await registry.enroll(identity)).secret)
    } finally {
      await registry.stop()
    }
  }

  private async configure(): Promise<void> {
    const { directory } = this
    const in_ = (...names: string[]) => join(directory, ...names)
    const access = ({ identity }: { identity?: Identity }, named = true) => ({
      url: this.url,
      secret: this.secrets.get(identity!.name)!,
      ...(named && { identity: identity!.name }),
    })
    // Files of a corpus are opened years later.
    const retention = { rawDays: 36_500, minuteDays: 36_500, hourDays: 36_500 }
    const store = { kind: 'sqlite', path: in_('telemetry.db'), retention }
    const spare = { identity: identityOf('recorder', 'spare') }
    await this.write('broker', {
      port: Number(new URL(this.url).port),
      registry: in_('registry.db'),
      store: in_('broker.db'),
    })
    await this.write('recorder', {
      broker: access(programs.recorder),
      store,
      spool: { directory: in_('recorder'), maxAgeHours: 100_000 },
    })
    // Its store is away for ever, so that points wait in its spool.
    await this.write('spare', {
      broker: access(spare),
      store: { kind: 'influx', url: 'http://127.0.0.1:9' },
      spool: { directory: in_('spare'), maxAgeHours: 100_000 },
    })
    await this.write('flows', {
      userDirectory: in_('node-red'),
      port: 0,
      broker: access(programs.flows),
      store,
      adminPassword: 'correct horse battery',
    })
    await this.write('server', {
      server: 'hall-1',
      broker: access(programs.server, false),
      models: ['models/bearing-server'],
      archive: { directory: in_('archive'), maxAgeDays: 36_500 },
      workers: 1,
    })
    await this.write('pi-1', this.device('pi-1', [this.point('motor-de', 'motor-1', 'inner-race', 1)]))
    await this.write(
      'pi-2',
      this.device('pi-2', [
        this.point('pump-de', 'pump-1', 'outer-race', 2),
        { ...this.point('pump-nde', 'pump-2', 'normal', 3), commissioning: { minutes: 0.1 } },
      ]),
    )
  }

  private device(device: 'pi-1' | 'pi-2', points: object[]): object {
    return {
      site,
      device,
      broker: { url: this.url, secret: this.secrets.get(programs[device].identity!.name)! },
      dataDirectory: join(this.directory, device),
      model: 'models/bearing-local',
      policy: { name: 'default', parameters: {} },
      healthIntervalS: 1,
      summaryIntervalS: 5,
      auditRate: 0.05,
      seed: 1,
      points,
    }
  }

  private point(point: string, machine: string, fault: string, seed: number): object {
    const { speed, intervalMs } = this.options
    return { point, machine, machineType: 'motor', source: { kind: 'simulated', intervalMs, speed, fault, seed } }
  }

  private async write(name: string, entries: object): Promise<void> {
    const file = this.configurationOf(name)
    await writeFile(file, stringify(entries))
    await chmod(file, 0o600)
  }
}
