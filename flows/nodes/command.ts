import { describeIssue, encoderSchema, FaultlineError, identifierPattern, runtimeConfig } from '@faultline/protocol'
import { type DeviceName, DeviceRequests } from '../mqtt/device-requests.ts'
import { attempt, begin, connected, end, giveUp } from './attempt.ts'
import { linkOf, showConnection } from './broker.ts'
import type { NodeConfig, NodeMessage, NodeRed, RuntimeNode } from './node-red.ts'
import { personOf, refuseViewers } from './person.ts'

interface CommandConfig {
  broker?: string
  action?: string
  site?: string
  device?: string
  timeoutS?: string | number
}

/** `faultline-command`: has a device do something, and waits for what it says. */
export default function register(red: NodeRed): void {
  function FaultlineCommand(this: RuntimeNode<never>, config: NodeConfig<CommandConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const link = linkOf(red, config.broker)
      const requests = new DeviceRequests(link, (Number(config.timeoutS) || 10) * 1_000)
      const action = config.action || 'recalibrate'
      begin(this, requests.start())
      const hide = showConnection(this, link, connected)
      this.on(
        'input',
        attempt(this, connected, async message => {
          refuseViewers(message)
          const target = targetOf(config, message)
          const given = fieldsOf(message.payload)
          const person = personOf(message)
          if (person) this.log(`${person.name}: ${action} ${target.site}/${target.device}`)
          if (action !== 'configure') return { payload: await requests.command(target, action, given), ...target }
          const changes = encoderSchema(runtimeConfig).safeParse(given)
          if (!changes.success) throw new FaultlineError('CONFIG_INVALID', describeIssue(changes.error, 'payload'))
          return { payload: await requests.configure(target, changes.data), ...target }
        }),
      )
      this.on('close', (_removed, done) => {
        hide()
        end(this, requests.stop(), done)
      })
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType(
    'faultline-command',
    FaultlineCommand as (this: never, config: NodeConfig<CommandConfig>) => void,
  )
}

/** Named by the message, by the node, or by the event that the message came from. */
function targetOf(config: CommandConfig, message: NodeMessage): DeviceName {
  const origin = (message.faultline as { address?: Partial<DeviceName> } | undefined)?.address
  const site = message.site ?? (config.site || origin?.site)
  const device = message.device ?? (config.device || origin?.device)
  const isName = (value: unknown): value is string => typeof value === 'string' && identifierPattern.test(value)
  if (isName(site) && isName(device)) return { site, device }
  throw new FaultlineError('MESSAGE_INVALID', 'which device? Give msg.site and msg.device, or name it in the node')
}

function fieldsOf(payload: unknown): Record<string, unknown> {
  if (typeof payload === 'object' && payload !== null && !Array.isArray(payload) && !Buffer.isBuffer(payload)) {
    return payload as Record<string, unknown>
  }
  // What an Inject node or a button sends when it has nothing to say.
  if (payload === undefined || payload === '' || typeof payload === 'number' || typeof payload === 'boolean') return {}
  throw new FaultlineError('MESSAGE_INVALID', 'the payload must be an object of arguments')
}
