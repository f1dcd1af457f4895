import { mkdir } from 'node:fs/promises'
import { FaultlineError } from '@faultline/protocol'
import {
  type Command,
  InvalidArgumentError,
  Option,
  parseInteger,
  parsePositive,
  terminationSignal,
} from '@faultline/runtime'
import type { Registry } from '../registry.ts'
import { type Artifact, packBundle, takePackage } from '../rollouts/artifact.ts'
import { newRolloutId, RolloutOrders, usualGroups } from '../rollouts/orders.ts'
import { type Amount, amountOf } from '../rollouts/plan.ts'
import { detailOf, listOf } from '../rollouts/report.ts'
import { artifactsOf, rolloutsOf } from '../rollouts/rollout-service.ts'
import { isOpen } from '../rollouts/states.ts'
import { RolloutStore, type Terms } from '../rollouts/store.ts'
import { watchRollout } from '../rollouts/watch.ts'
import { type BrokerFlags, withBroker } from './broker-options.ts'
import { say } from './output.ts'
import { withOpen, withRegistry } from './registry-option.ts'
import { requireService, serveHere } from './rollout-here.ts'

interface ArtifactFlags {
  registry: string
  bundle?: string
  agent?: string
}

interface HereFlags extends BrokerFlags {
  registry: string
  here?: boolean
}

interface StartFlags extends ArtifactFlags, HereFlags {
  registry: string
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
    .description('roll a signed model or agent out to devices, group by group, through `provision -- serve`')
  withHere(withArtifact(withRegistry(rollout.command('start'))))
    .description('start a rollout; `serve` runs it until it ends by its own terms, watched or not')
    .option('--site <site>', 'only the devices of one site')
    .option('--device <names...>', 'only these, such as devices/plant-a/press-3')
    .option('--canary <names...>', 'the devices of the first group')
    .addOption(
      new Option(
        '--groups <sizes>',
        'sizes of the first groups, as counts or shares of all devices; the rest is the last group',
      )
        .argParser(parseSizes)
        .default([...usualGroups], '1,10%'),
    )
    .addOption(
      new Option(
        '--max-failures <amount>',
        'abort when more devices fail: a count over the whole rollout (2) or a share of a group (10%)',
      )
        .argParser(parseAmount)
        .default({ percent: 10 }, '10%'),
    )
    .option(
      '--advance-at <percent>',
      'per cent of a group that have to succeed before the next begins',
      parsePercent,
      100,
    )
    .option('--probation-minutes <minutes>', 'how long a device watches it at least', parsePositive, 10)
    .option('--probation-windows <count>', 'windows it has to judge there at least', parseInteger(1, 1_000_000), 100)
    .option('--disagreement <percent>', 'of accepted windows that servers may contradict', parsePercent, 10)
    .option('--lost-after-hours <hours>', 'a device that comes to no end by then is lost', parsePositive, 24)
    .action(start)
  withArtifact(withRegistry(rollout.command('add')))
    .description('keep a model or an agent package, so that a rollout of it can be started on the Devices page')
    .action(add)
  withRegistry(rollout.command('watch'))
    .description('show how far a rollout is until it ends; Ctrl-C ends the watching, not the rollout')
    .argument('<id>')
    .action(watch)
  withRegistry(rollout.command('pause'))
    .description('offer nothing to devices that have not begun; the others go on')
    .argument('<id>')
    .action((id: string, { registry }: HereFlags) => order(registry, orders => orders.pause(id), `paused ${id}`))
  withHere(withRegistry(rollout.command('resume')))
    .description('go on with a rollout that was paused; with --here in this terminal')
    .argument('<id>')
    .action(resume)
  withHere(withRegistry(rollout.command('abort')).alias('stop'))
    .description('end a rollout: what is not on a device yet is withdrawn, what runs stays')
    .argument('<id>')
    .action(abort)
  withRegistry(rollout.command('show'))
    .description('show how far a rollout is, and what went wrong')
    .argument('<id>')
    .action((id: string, { registry }: HereFlags) =>
      withStore(registry, store => say(detailOf(store.show(id), store.devices(id)))),
    )
  withRegistry(rollout.command('list'))
    .description('list the rollouts, the newest first')
    .action(({ registry }: HereFlags) =>
      withStore(registry, store => {
        const rollouts = store.list()
        if (rollouts.length === 0) return say('no rollouts')
        say(listOf(rollouts.map(rollout => ({ rollout, devices: store.devices(rollout.id) }))))
      }),
    )
}

const withHere = (command: Command): Command =>
  withBroker(command.option('--here', 'run the rollouts in this terminal, where no `serve` does'))

const withArtifact = (command: Command): Command =>
  command
    .option('--bundle <directory>', 'the directory of a signed model')
    .option('--agent <file>', 'or an agent package, with its signature beside it')

async function start(flags: StartFlags): Promise<void> {
  const { registry: path, here, site, device, canary, groups } = flags
  if (!here) requireService(path)
  const artifact = await artifactOf(flags)
  const id = newRolloutId(artifact)
  const begin = (registry: Registry, store: RolloutStore) => {
    const order = { artifact, terms: termsOf(flags), site, devices: device, canaries: canary, groups }
    const sizes = new RolloutOrders(registry, store).start(id, order)
    say(`rollout ${id}: ${artifact.name} ${artifact.version} to ${sizes.join(' + ')} devices`)
  }
  await withOpen(path, registry =>
    withStore(path, async store => {
      if (here) return serveHere(registry, store, flags, id, () => begin(registry, store))
      begin(registry, store)
      say(`watch it: npm run provision -- rollout watch ${id}`)
    }),
  )
}

async function add(flags: ArtifactFlags): Promise<void> {
  const artifact = await artifactOf(flags)
  await order(flags.registry, orders => orders.add(artifact), `added ${artifact.name} ${artifact.version}`, false)
}

async function artifactOf({ bundle, agent, registry }: ArtifactFlags): Promise<Artifact> {
  const artifacts = artifactsOf(registry)
  if ((bundle === undefined) === (agent === undefined))
    throw new FaultlineError('ROLLOUT_INVALID', 'give --bundle DIRECTORY or --agent FILE')
  await mkdir(artifacts, { recursive: true, mode: 0o700 })
  return bundle === undefined ? takePackage(agent!, artifacts) : packBundle(bundle, artifacts)
}

/** Writes down what the process that runs the rollouts is to do. */
async function order(path: string, give: (orders: RolloutOrders) => void, done: string, needsService = true) {
  await withOpen(path, registry =>
    withStore(path, store => {
      if (needsService) requireService(path)
      give(new RolloutOrders(registry, store))
      say(done)
    }),
  )
}

async function watch(id: string, { registry: path }: HereFlags): Promise<void> {
  await withStore(path, async store => {
    if (isOpen(store.show(id).state)) requireService(path)
    const interrupted = new AbortController()
    const stop = () => interrupted.abort()
    terminationSignal(interrupted.signal).then(stop, stop)
    const rollout = await watchRollout(id, store, interrupted.signal)
    interrupted.abort()
    say(detailOf(rollout, store.devices(id)))
    if (isOpen(rollout.state)) say('\nit goes on')
    if (rollout.state === 'aborted') process.exitCode = 1
  })
}

async function resume(id: string, flags: HereFlags): Promise<void> {
  const { registry: path, here } = flags
  if (!here) return order(path, orders => orders.resume(id), `resumed ${id}`)
  await withOpen(path, registry =>
    withStore(path, store =>
      serveHere(registry, store, flags, id, () => {
        // One that a process left behind runs on as it is.
        if (store.show(id).state !== 'running') new RolloutOrders(registry, store).resume(id)
      }),
    ),
  )
}

async function abort(id: string, flags: HereFlags): Promise<void> {
  const { registry: path, here } = flags
  if (!here) return order(path, orders => orders.abort(id), `aborted ${id}`)
  await withOpen(path, registry =>
    withStore(path, store => serveHere(registry, store, flags, id, () => new RolloutOrders(registry, store).abort(id))),
  )
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

async function withStore<T>(registry: string, work: (store: RolloutStore) => T | Promise<T>): Promise<T> {
  const store = new RolloutStore(rolloutsOf(registry))
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
