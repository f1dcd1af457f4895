import { encodePayload, identityOf, type Message, topicFilter } from '@faultline/protocol'
import { MqttSession } from '@faultline/runtime'
import type { DeviceAgentOptions } from '../options.ts'
import { willState } from '../reports/state.ts'

/** What a device listens to that takes updates. */
export const updateFilters = ({ site, device, updates }: DeviceAgentOptions): string[] =>
  updates ? (['update-offer', 'update-chunk'] as const).map(kind => topicFilter(kind, { site, device })) : []

/**
 * The connection of a device agent: its name, its will, and what it listens to.
 * @param more Topic filters besides those of every device.
 */
export function agentSession(
  { site, device, broker, logger }: DeviceAgentOptions,
  boot: number,
  more: readonly string[],
  onMessage: (message: Message) => void | Promise<void>,
): MqttSession {
  const stem = { site, device }
  return new MqttSession({
    ...broker,
    identity: identityOf('device', site, device),
    clean: false,
    will: { address: { kind: 'state', ...stem }, payload: encodePayload('state', willState(boot)) },
    subscriptions: [
      ...(['config-desired', 'command', 'verdict'] as const).map(kind => topicFilter(kind, stem)),
      ...more,
    ],
    onMessage,
    logger,
  })
}
