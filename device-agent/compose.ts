import type { Message } from '@faultline/protocol'
import { Commands } from './control/commands.ts'
import { Configuration, type RuntimeSettings } from './control/configuration.ts'
import { commandHandlers } from './control/handlers.ts'
import { AuditKeeper } from './decisions/audit-keeper.ts'
import { CommissioningKeeper } from './decisions/commissioning-keeper.ts'
import { EvidenceExchange } from './decisions/evidence-exchange.ts'
import { Policies } from './decisions/policies.ts'
import { PolicyStates } from './decisions/policy-states.ts'
import { WindowFlow } from './decisions/window-flow.ts'
import { agentSession } from './link/agent-session.ts'
import { Battery } from './link/battery.ts'
import { ByteBudget } from './link/byte-budget.ts'
import { EnergyEstimate } from './link/energy.ts'
import { MeteredPublisher } from './link/metered-publisher.ts'
import { Pricing } from './link/pricing.ts'
import { ServerLoads } from './link/server-loads.ts'
import { boundsOf, type DeviceAgentOptions, type InferenceEvent, settingsOf } from './options.ts'
import { type MonitorHandlers, PointMonitor } from './point-monitor.ts'
import type { Running } from './running.ts'
import { MissingSpeed } from './sensors/missing-speed.ts'
import { WindowPace } from './sensors/window-pace.ts'
import type { SourceWindow } from './sources/source.ts'
import { Outbox } from './spool/outbox.ts'
import { Settings } from './spool/storage.ts'
import type { Store } from './spool/store.ts'
import { TieredSpool } from './spool/tiered-spool.ts'

/** What the parts of an agent tell it, and have it do. */
export interface AgentHooks {
  receive(message: Message): void | Promise<void>
  /** Puts settings in force; throws before anything has changed. */
  apply(settings: RuntimeSettings, policies: Policies): void
  /** What `state` says is another thing now; and what `health` says of sensors. */
  stateChanged(): void
  sensorChanged(): void
  /** A point has taken a window; a window has its inference; a window or a source has failed. */
  window(point: string, window: SourceWindow): void
  inference(event: InferenceEvent): void
  windowFailed(): void
  failed(thrown: unknown, what: string): void
  /** For the command `diagnose`. */
  report(): Record<string, unknown>
  /** Once the result of the command is on its way. */
  restart(): void
}

/**
 * Puts an agent together from what its store holds; nothing runs yet. Counts the start.
 * Throws the errors of policies.
 */
export function compose(options: DeviceAgentOptions, store: Store, hooks: AgentHooks): Running {
  const { site, device, points, classifier, updates, logger } = options
  const { seed = Math.floor(Math.random() * 2 ** 32) } = options
  const settings = new Settings(store)
  const boot = settings.nextBoot()
  const audits = new AuditKeeper({
    settings,
    model: classifier,
    points,
    ...(updates && { floor: () => updates.auditRate }),
    logger,
  })
  const states = new PolicyStates(store)
  const policies = new Policies(points, { states, model: classifier, audits, seed, logger })
  const changed = () => hooks.stateChanged()
  const commissioning = new CommissioningKeeper({ settings, points, model: classifier, changed, logger })
  const configuration = new Configuration({
    initial: settingsOf(options),
    settings,
    points: points.map(({ point }) => point),
    apply: changed => hooks.apply(changed, policies),
    logger,
  })
  configuration.restore()
  const stem = { site, device }
  const pace = new WindowPace(classifier.bundle?.description.normal, configuration.current.pace)
  const servers = new ServerLoads(classifier.task)
  const pricing = new Pricing(configuration.current, new Battery(options.batteryFile), servers)
  const evidence = new EvidenceExchange({ ...stem, model: classifier.model, policies, logger })
  const session = agentSession(options, boot, evidence.filters, message => hooks.receive(message))
  const spool = new TieredSpool(store, boundsOf(options))
  const budget = new ByteBudget({ settings, metered: () => pricing.metered, logger })
  budget.use(configuration.current.budget)
  const publisher = new MeteredPublisher(session, budget)
  const outbox = new Outbox({ spool, publisher, logger })
  const flow = new WindowFlow(
    {
      ...stem,
      model: classifier,
      points,
      publisher: session,
      audits,
      budget,
      quote: bytes => pricing.quote(bytes),
      answered: inferMs => pricing.answered(inferMs),
      commissioning,
      send: (address, payload, worth) => outbox.send(address, payload, worth),
      announce: (inference, { point, truth }) => {
        pace.heard(point, inference)
        updates?.inferred(inference)
        hooks.inference({ address: { kind: 'inference', ...stem, point }, inference, truth })
      },
      trace: (fields, what) => logger.debug(fields, what),
      failed: thrown => hooks.failed(thrown, 'not published'),
    },
    { settings: configuration.current, policies },
  )
  const commands = new Commands(
    store,
    commandHandlers({
      boot,
      monitors: () => monitors,
      recalibrate: args => commissioning.recalibrate(args),
      report: () => hooks.report(),
      restart: () => hooks.restart(),
    }),
  )
  const missingSpeed = new MissingSpeed(classifier.bundle?.description.input, logger, () => {
    hooks.stateChanged()
    hooks.sensorChanged()
  })
  const handlers: MonitorHandlers = {
    window: (point, window) => {
      missingSpeed.seen(point.point, window.window)
      hooks.window(point.point, window)
      return flow.handle(point, window)
    },
    failed: () => hooks.windowFailed(),
    takes: ({ point }, { at }) => pace.takes(point, at.getTime()),
    sensor: () => hooks.sensorChanged(),
  }
  const monitors = points.map(point => new PointMonitor(point, handlers, logger))
  return {
    store,
    boot,
    startedAt: performance.now(),
    spool,
    outbox,
    session,
    flow,
    servers,
    pricing,
    budget,
    publisher,
    policies,
    evidence,
    audits,
    commissioning,
    configuration,
    commands,
    energy: options.energy && new EnergyEstimate(options.energy),
    pace,
    missingSpeed,
    monitors,
  }
}
