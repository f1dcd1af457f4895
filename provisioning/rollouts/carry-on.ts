import { once } from 'node:events'
import { Progress, terminationSignal } from '@faultline/runtime'
import { countsOf, detailOf } from './report.ts'
import { RolloutRunner, type RolloutRunnerOptions } from './runner.ts'
import { isOver } from './states.ts'
import type { Rollout } from './store.ts'

/**
 * Runs a rollout in the foreground and shows how far it is, until it is over or somebody interrupts it; then it waits in the
 * store. Sets the exit code where it did not end well.
 */
export async function carryOn(options: RolloutRunnerOptions, say: (text: string) => void): Promise<void> {
  const { id, store } = options
  const runner = new RolloutRunner(options)
  const total = store.devices(id).length
  const progress = new Progress(id, total)
  const interrupted = new AbortController()
  runner.on('device', () => {
    const done = runner.list.filter(({ state }) => isOver(state)).length
    progress.update(done, `group ${runner.group + 1}: ${countsOf(runner.list)}`)
  })
  const ended = once(runner, 'ended').then(([rollout]) => rollout as Rollout)
  let rollout: Rollout | undefined
  try {
    await runner.start()
    rollout = await Promise.race([ended, terminationSignal(interrupted.signal).then(() => undefined)])
  } finally {
    interrupted.abort()
    await runner.stop()
    progress.stop()
  }
  say(detailOf(rollout ?? store.show(id), store.devices(id)))
  if (!rollout) say(`\nnot over: npm run provision -- rollout resume ${id}`)
  if (rollout?.state === 'aborted') process.exitCode = 1
}
