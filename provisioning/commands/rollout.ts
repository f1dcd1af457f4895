import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { FaultlineError, newId } from '@faultline/protocol'
import {
  type Command,
  createLogger,
  InvalidArgumentError,
  MqttSession,
  Option,
  parseInteger,
  parsePositive,
} from '@faultline/runtime'
import type { Registry } from '../registry.ts'
import { type Artifact, packBundle, takePackage } from '../rollouts/artifact.ts'
import { carryOn } from '../rollouts/carry-on.ts'
import { type Amount, amountOf, groupsOf } from '../rollouts/plan.ts'
import { detailOf, listOf } from '../rollouts/report.ts'
import { RolloutStore, type Terms } from '../rollouts/store.ts'
import { withdrawOffers } from '../rollouts/withdrawal.ts'
import { type BrokerFlags, brokerAccessOf, withBroker } from './broker-options.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'

interface StartFlags extends BrokerFlags {
  registry: string
  bundle?: string
  agent?: string
  site?: string
  device?: string[]
  canary?: string[]
  groups: Amount[]
  maxFailures: Amount
  advanceAt: number
  probationMinutes: number
  probationWindows: number
  disagreement: number
  lostAfterHours: number
}

export function addRollout(program: Command): void {
  const rollout = program
    .command('rollout')
    .description('roll a signed model or agent out to devices, group by group, and watch it')
  withBroker(withRegistry(rollout.command('start')))
    .description('offer it to the first group, and go on for as long as this runs; Ctrl-C leaves it to `resume`')
    .option('--bundle <directory>', 'a model, signed')
    .option('--agent <file>', 'or an agent package, with its signature beside it')
    .option('--site <site>', 'only the devices of one site')
    .option('--device <names...>', 'only these, such as devices/plant-a/press-3')
    .option('--canary <names...>', 'the devices of the first group')
    .addOption(
      new Option('--groups <sizes>', 'of the first groups, as counts or shares; the rest is the last')
        .argParser(parseSizes)
        .default([{ count: 1 }, { percent: 10 }], '1,10%'),
    )
    .addOption(
      new Option('--max-failures <amount>', 'more stop it: of all, such as 2, or of a group, such as 10%')
        .argParser(parseAmount)
        .default({ percent: 10 }, '10%'),
    )
    .option('--advance-at <percent>', 'of a group that have to succeed before the next begins', parsePercent, 100)
    .option('--probation-minutes <minutes>', 'how long a device watches it at least', parsePositive, 10)
    .option('--probation-windows <count>', 'windows it has to judge there at least', parseInteger(1, 1_000_000), 100)
    .option('--disagreement <percent>', 'of accepted windows that servers may contradict', parsePercent, 10)
    .option('--lost-after-hours <hours>', 'a device that comes to no end by then is lost', parsePositive, 24)
    .action(start)
  withBroker(withRegistry(rollout.command('resume')))
    .description('go on with a rollout that is not over')
    .argument('<id>')
    .action(resume)
  withBroker(withRegistry(rollout.command('stop')))
    .description('end a rollout: what is not on a device yet is withdrawn, what runs stays')
    .argument('<id>')
    .action(stop)
  withRegistry(rollout.command('show'))
    .description('show how far a rollout is, and what went wrong')
    .argument('<id>')
    .action((id: string, { registry }: { registry: string }) =>
      withStore(registry, store => say(detailOf(store.show(id), store.devices(id)))),
    )
  withRegistry(rollout.command('list'))
    .description('list the rollouts, the newest first')
    .action(({ registry }: { registry: string }) =>
      withStore(registry, store => {
        const rollouts = store.list()
        if (rollouts.length === 0) return say('no rollouts')
        say(listOf(rollouts.map(rollout => ({ rollout, devices: store.devices(rollout.id) }))))
      }),
    )
}

async function start(flags: StartFlags): Promise<void> {
  const access = await brokerAccessOf(flags)
  const artifacts = artifactsOf(flags.registry)
  await mkdir(artifacts, { recursive: true, mode: 0o700 })
  const artifact = await artifactOf(flags, artifacts)
  await withOpen(flags.registry, async registry => {
    const groups = groupsOf(namesOf(registry, flags), flags.groups, flags.canary ?? [])
    const id = idOf(artifact)
    await withStore(flags.registry, async store => {
      store.create(id, artifact, termsOf(flags), groups)
      registry.record('rolled-out', 'registry', `${artifact.kind} ${artifact.name} ${artifact.version} as ${id}`)
      say(
        `rollout ${id}: ${artifact.name} ${artifact.version} to ${groups.map(({ length }) => length).join(' + ')} devices`,
      )
      try {
        await carryOn({ id, store, artifacts, ...access, logger: logger() }, say)
      } catch (error) {
        // A wrong secret, say. What nobody was offered must not stand in the way of the next attempt.
        if (store.devices(id).every(({ state }) => state === 'waiting')) store.end(id, 'stopped', 'it never began')
        throw error
      }
    })
  })
}

async function artifactOf({ bundle, agent }: StartFlags, artifacts: string): Promise<Artifact> {
  if (bundle !== undefined && agent === undefined) return packBundle(bundle, artifacts)
  if (agent !== undefined && bundle === undefined) return takePackage(agent, artifacts)
  throw new FaultlineError('ROLLOUT_INVALID', 'give --bundle DIRECTORY or --agent FILE')
}

async function resume(id: string, flags: BrokerFlags & { registry: string }): Promise<void> {
  const access = await brokerAccessOf(flags)
  const artifacts = artifactsOf(flags.registry)
  await withStore(flags.registry, async store => {
    requireRunning(store, id)
    await carryOn({ id, store, artifacts, ...access, logger: logger() }, say)
  })
}

async function stop(id: string, flags: BrokerFlags & { registry: string }): Promise<void> {
  const { broker, identity } = await brokerAccessOf(flags)
  await withStore(flags.registry, async store => {
    requireRunning(store, id)
    const clientId = `${identity.name}/rollout-${newId()}`
    const session = new MqttSession({
      ...broker,
      identity,
      clientId,
      subscriptions: [],
      logger: logger(),
    })
    await session.start()
    try {
      await session.whenOnline(AbortSignal.timeout(30_000)).catch(() => {
        throw new FaultlineError('BROKER_UNREACHABLE', `no connection to ${broker.url}; the rollout goes on`)
      })
      store.end(id, 'stopped', 'stopped by an operator')
      const cleared: Promise<void>[] = []
      withdrawOffers(id, store, address => cleared.push(session.publishRaw(address, Buffer.alloc(0))))
      await Promise.all(cleared)
    } finally {
      await session.stop()
    }
    say(detailOf(store.show(id), store.devices(id)))
  })
}

function requireRunning(store: RolloutStore, id: string): void {
  const { state } = store.show(id)
  if (state !== 'running') throw new FaultlineError('ROLLOUT_INVALID', `the rollout ${id} is over: ${state}`)
}

/** Its progress is on the terminal; only what goes wrong is in the log. */
const logger = () => createLogger('rollout', { level: process.env.FAULTLINE_LOG_LEVEL ?? 'warn' })

/** Throws `ROLLOUT_INVALID` for names that are no devices of the registry. */
function namesOf(registry: Registry, { site, device }: Pick<StartFlags, 'site' | 'device'>): string[] {
  const enrolled = registry.list({ role: 'device', site }).map(({ name }) => name)
  const stranger = device?.find(name => !enrolled.includes(name))
  if (stranger !== undefined) throw new FaultlineError('ROLLOUT_INVALID', `${stranger} is no enrolled device`)
  return device ?? enrolled
}

const termsOf = (flags: StartFlags): Terms => ({
  probation: {
    seconds: flags.probationMinutes * 60,
    windows: flags.probationWindows,
    disagreement: flags.disagreement / 100,
  },
  maxFailures: flags.maxFailures,
  advanceAt: flags.advanceAt,
  lostAfterMs: flags.lostAfterHours * 3_600_000,
})

/** "bearing-local-1-2-0-20260302-081530-3f2a": readable, and another one every time. */
const idOf = ({ name, version }: Artifact): string => {
  const time = new Date().toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15)
  return `${`${name}-${version.replaceAll('.', '-')}`.slice(0, 40)}-${time}-${newId().slice(0, 4)}`
}

const artifactsOf = (registry: string): string => join(dirname(registry), 'rollouts')

async function withStore<T>(registry: string, work: (store: RolloutStore) => T | Promise<T>): Promise<T> {
  const store = new RolloutStore(join(dirname(registry), 'rollouts.db'))
  await store.start()
  try {
    return await work(store)
  } finally {
    await store.stop()
  }
}

function parseAmount(text: string): Amount {
  const amount = amountOf(text)
  if (amount) return amount
  throw new InvalidArgumentError('Give a count such as 2, or a share such as 10%.')
}

const parseSizes = (text: string): Amount[] => text.split(',').map(parseAmount)

function parsePercent(text: string): number {
  const value = Number(text.replace(/%$/, ''))
  if (text.trim() !== '' && value >= 0 && value <= 100) return value
  throw new InvalidArgumentError('Give a share from 0 to 100.')
}
