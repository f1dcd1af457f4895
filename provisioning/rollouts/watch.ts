import { setTimeout as delay } from 'node:timers/promises'
import { Progress } from '@faultline/runtime'
import { groupUnderWay } from './progress.ts'
import { countsOf } from './report.ts'
import { isOpen, isOver } from './states.ts'
import type { Rollout, RolloutStore } from './store.ts'

const lookMs = 500

/** Shows on standard error how far a rollout is, from its store, until it has ended or `signal` aborts; returns how it stands. */
export async function watchRollout(id: string, store: RolloutStore, signal: AbortSignal): Promise<Rollout> {
  const progress = new Progress(id, store.devices(id).length)
  try {
    for (;;) {
      const rollout = store.show(id)
      const devices = store.devices(id)
      const done = devices.filter(({ state }) => isOver(state)).length
      const paused = rollout.state === 'paused' ? 'paused, ' : ''
      progress.update(done, `${paused}group ${groupUnderWay(devices, rollout.terms) + 1}: ${countsOf(devices)}`)
      if (!isOpen(rollout.state) || signal.aborted) return rollout
      await delay(lookMs, undefined, { signal }).catch(() => {})
    }
  } finally {
    progress.stop()
  }
}
