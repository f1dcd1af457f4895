import {
  alarmActions,
  decodePayload,
  describeIssue,
  FaultlineError,
  parseTopic,
  toFaultlineError,
  topicOf,
  topicRoot,
} from '@faultline/protocol'
import { alarmRequest, isAction } from '../alarms/alarm-actions.ts'
import { AlarmKeeper, type Windows } from '../alarms/alarm-keeper.ts'
import type { AlarmChange } from '../alarms/alarm-rule.ts'
import { isActive, needsAttention } from '../alarms/lifecycle.ts'
import { type AlarmFields, alarmRuleOf } from './alarm-settings.ts'
import { begin, end } from './attempt.ts'
import { linkOf, showConnection } from './broker.ts'
import type { NodeConfig, NodeMessage, NodeRed, NodeStatus, RuntimeNode } from './node-red.ts'
import { personOf, refuseViewers } from './person.ts'

type AlarmConfig = AlarmFields & { broker?: string }

/** `faultline-alarm`: windows in, alarms and notices out; a thin shell around `AlarmKeeper`. */
export default function register(red: NodeRed): void {
  function FaultlineAlarm(this: RuntimeNode<never>, config: NodeConfig<AlarmConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const link = linkOf(red, config.broker)
      const keeper = new AlarmKeeper({
        link,
        rule: alarmRuleOf(config),
        onChange: change => {
          showAlarms()
          this.send([toNodeMessage(change), null])
        },
        onNotice: (alarm, notice) => this.send([null, { ...toNodeMessage({ change: 'notified', alarm }), notice }]),
        onForgotten: () => showAlarms(),
        onError: error => this.error(error, {}),
      })
      const showAlarms = () => this.status(statusOf(keeper))
      begin(this, keeper.start())
      const hide = showConnection(this, link, () => statusOf(keeper))
      link.on('settled', showAlarms)
      this.on('input', (message, _send, done) => {
        handle(keeper, message).then(
          () => done(),
          thrown => done(toFaultlineError(thrown)),
        )
      })
      this.on('close', (_removed, done) => {
        link.off('settled', showAlarms)
        hide()
        end(this, keeper.stop(), done)
      })
    } catch (thrown) {
      const error = toFaultlineError(thrown)
      this.status({ fill: 'red', shape: 'ring', text: error.code })
      this.error(error)
    }
  }
  red.nodes.registerType('faultline-alarm', FaultlineAlarm as (this: never, config: NodeConfig<AlarmConfig>) => void)
}

async function handle(keeper: AlarmKeeper, message: NodeMessage): Promise<void> {
  if (isAction(message.topic)) return keeper.act(readRequest(message))
  const windows = readWindows(message)
  if (windows) await keeper.observe(windows)
}

/** Who asks: as the payload says, or the person who is logged in to the dashboard that sent the message. */
function readRequest(message: NodeMessage) {
  refuseViewers(message)
  const { topic, payload } = message
  const by = personOf(message)?.name
  const fields = typeof payload === 'object' && payload !== null ? payload : {}
  const parsed = alarmRequest.safeParse({
    ...fields,
    ...(typeof by === 'string' && { by }),
    action: topic,
  })
  if (parsed.success) return parsed.data
  throw new FaultlineError('MESSAGE_INVALID', `${String(topic)}: ${describeIssue(parsed.error, 'payload')}`)
}

/**
 * From a `faultline-events` node, or from a plain MQTT node in any of the forms it can deliver. Undefined for messages
 * that say nothing about windows.
 */
function readWindows({ topic, payload }: NodeMessage): Windows | undefined {
  const address = typeof topic === 'string' ? parseTopic(topic) : undefined
  if (!address) {
    throw new FaultlineError(
      'TOPIC_UNKNOWN',
      `expected a topic under ${topicRoot}/, or one of ${alarmActions.join(', ')}`,
    )
  }
  const { kind } = address
  if (kind !== 'inference' && kind !== 'summary') return undefined
  const bytes =
    payload instanceof Uint8Array ? payload : Buffer.from(typeof payload === 'string' ? payload : toJson(payload))
  return { kind, address, payload: decodePayload(kind, bytes) } as Windows
}

/** `JSON.stringify` gives undefined for what has no JSON form. */
const toJson = (value: unknown): string => (JSON.stringify(value) as string | undefined) ?? ''

function toNodeMessage({ change, alarm }: AlarmChange): NodeMessage {
  const address = { kind: 'alarm', site: alarm.site, machine: alarm.machine, fault: alarm.fault } as const
  return { topic: topicOf(address), payload: alarm, change, faultline: { kind: 'alarm', address } }
}

function statusOf(keeper: AlarmKeeper): NodeStatus {
  const alarms = [...keeper.alarms()]
  const active = alarms.filter(isActive).length
  const open = alarms.filter(needsAttention).length
  const text = `${active} active, ${open} to acknowledge`
  if (active > 0) return { fill: 'red', shape: 'dot', text }
  return open > 0 ? { fill: 'yellow', shape: 'dot', text } : { fill: 'green', shape: 'dot', text: 'no alarm' }
}
