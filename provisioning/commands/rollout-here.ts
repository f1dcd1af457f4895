import { setTimeout as delay } from 'node:timers/promises'
import { FaultlineError } from '@faultline/protocol'
import { createLogger, terminationSignal } from '@faultline/runtime'
import type { Registry } from '../registry.ts'
import { detailOf } from '../rollouts/report.ts'
import { RolloutService } from '../rollouts/rollout-service.ts'
import { RunLock } from '../rollouts/run-lock.ts'
import { isOpen } from '../rollouts/states.ts'
import type { RolloutStore } from '../rollouts/store.ts'
import { watchRollout } from '../rollouts/watch.ts'
import { type BrokerFlags, brokerAccessOf } from './broker-options.ts'
import { say } from './output.ts'

/** Throws `ROLLOUTS_NOT_SERVED` where no process runs the rollouts of a registry. */
export function requireService(path: string): void {
  if (new RunLock(path).isHeldElsewhere()) return
  throw new FaultlineError(
    'ROLLOUTS_NOT_SERVED',
    'nothing runs the rollouts of this registry: start "npm run provision -- serve --identity operators/NAME --broker-url URL", ' +
      'or run this rollout in the terminal with --here',
  )
}

/** How long a rollout that has ended waits for the broker, to withdraw what it offered. */
const clearMs = 30_000

/**
 * Runs the rollouts in this terminal, as `serve` does, until the one that `begin` starts has ended or Ctrl-C; then it waits in
 * the store. Sets the exit code where it did not end well.
 */
export async function serveHere(
  registry: Registry,
  store: RolloutStore,
  flags: BrokerFlags & { registry: string },
  id: string,
  begin: () => void,
): Promise<void> {
  const access = await brokerAccessOf(flags)
  // Its progress is on the terminal; only what goes wrong is in the log.
  const logger = createLogger('rollout', { level: process.env.FAULTLINE_LOG_LEVEL ?? 'warn' })
  const service = new RolloutService({ registry, path: flags.registry, ...access, logger })
  const ended = new AbortController()
  let rejected: (thrown: unknown) => void = () => {}
  const refused = new Promise<never>((_resolve, reject) => {
    rejected = reject
  })
  service.on('error', rejected)
  refused.catch(() => {}) // It may come when nothing waits any more.
  await service.start()
  try {
    begin()
    terminationSignal(ended.signal).then(() => ended.abort(), rejected)
    const rollout = await Promise.race([watchRollout(id, store, ended.signal), refused])
    if (!isOpen(rollout.state)) await cleared(id, store)
    say(detailOf(rollout, store.devices(id)))
    if (isOpen(rollout.state)) say(`\nnot over: npm run provision -- rollout resume ${id} --here, or serve`)
    if (rollout.state === 'aborted') process.exitCode = 1
  } catch (thrown) {
    // A wrong secret, say. What was offered to no device must not stand in the way of the next attempt.
    if (store.devices(id).every(({ state }) => state === 'waiting') && store.end(id, 'aborted', 'it never began'))
      store.clear(id)
    throw thrown
  } finally {
    ended.abort()
    await service.stop()
  }
}

async function cleared(id: string, store: RolloutStore): Promise<void> {
  for (const end = performance.now() + clearMs; !store.show(id).cleared && performance.now() < end; ) await delay(100)
}
