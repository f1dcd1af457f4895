import { FaultlineError, type RolloutCommand } from '@faultline/protocol'
import { type RolloutOrders, usualGroups, usualTerms } from './orders.ts'
import { type Amount, amountOf } from './plan.ts'
import type { RolloutStore } from './store.ts'

/** Carries out what somebody asks for over the broker. Throws what `RolloutOrders` throws, and `COMMAND_UNKNOWN`. */
export function carryOut(orders: RolloutOrders, store: RolloutStore, id: string, command: RolloutCommand): void {
  const actor = `${command.by} over the broker`
  switch (command.name) {
    case 'pause':
      orders.pause(id, actor)
      return
    case 'resume':
      orders.resume(id, actor)
      return
    case 'abort':
      orders.abort(id, actor)
      return
    case 'start':
      start(orders, store, id, command, actor)
      return
    case 'other':
      throw new FaultlineError('COMMAND_UNKNOWN', 'a rollout can be started, paused, resumed and aborted')
  }
}

function start(
  orders: RolloutOrders,
  store: RolloutStore,
  id: string,
  { start: order }: RolloutCommand,
  actor: string,
): void {
  if (!order) throw new FaultlineError('ROLLOUT_INVALID', 'start: what is rolled out? Give start.artifact')
  const artifact = store.artifacts().find(({ digest }) => digest === order.artifact)
  if (!artifact)
    throw new FaultlineError('ROLLOUT_INVALID', `there is no ${order.artifact}: add it with "provision -- rollout add"`)
  const { site, devices, canaries } = order
  const groups = order.groups?.map(amount) ?? usualGroups
  const maxFailures = order.maxFailures === undefined ? usualTerms.maxFailures : amount(order.maxFailures)
  orders.start(id, { artifact, terms: { ...usualTerms, maxFailures }, site, devices, canaries, groups }, actor)
}

function amount(text: string): Amount {
  const found = amountOf(text)
  if (found) return found
  throw new FaultlineError('ROLLOUT_INVALID', `"${text}" is no count such as 2 and no share such as 10%`)
}
