import {
  checkIdentifier,
  type DecodedWindow,
  encodeWindow,
  FaultlineError,
  type Identity,
  isRejected,
  newId,
  type Verdict,
} from '@faultline/protocol'
import { Answers } from '../mqtt/answers.ts'
import type { BrokerLink } from '../mqtt/broker-link.ts'
import { attempt, connected, giveUp } from './attempt.ts'
import { linkOf, showConnection } from './broker.ts'
import type { NodeConfig, NodeMessage, NodeRed, RuntimeNode } from './node-red.ts'
import { refuseViewers } from './person.ts'

interface EscalateConfig {
  broker?: string
  task?: string
  machine?: string
  point?: string
  rateHz?: string | number
  deadlineS?: string | number
}

/** `faultline-escalate`: a message's payload as a window on its way up, and the verdict on it. */
export default function register(red: NodeRed): void {
  function FaultlineEscalate(this: RuntimeNode<never>, config: NodeConfig<EscalateConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const link = linkOf(red, config.broker)
      const { id: device, site } = deviceOf(link)
      const verdicts = new Answers<Verdict>()
      const unsubscribe = link.subscribe(['verdict'], ({ kind, payload }) => {
        if (kind === 'verdict') verdicts.give(payload.id, payload)
      })
      const hide = showConnection(this, link, connected)
      const waitMs = (Number(config.deadlineS) || 5) * 1_000
      this.on(
        'input',
        attempt(this, connected, async message => {
          refuseViewers(message)
          const id = newId()
          const at = Date.now()
          const point = checkIdentifier(String(message.point ?? (config.point || 'message')), 'point')
          const window = encodeWindow(windowOf(message, Number(config.rateHz) || 0))
          const verdict = verdicts.await(id, waitMs, 'no server agent answered the escalation')
          await link.publish(
            { kind: 'escalation', site, device, point },
            {
              v: 1,
              id,
              at: new Date(at).toISOString(),
              machine: checkIdentifier(String(message.machine ?? (config.machine || device)), 'machine'),
              reason: 'message',
              deadline: new Date(at + waitMs).toISOString(),
              task: checkIdentifier(String(message.task ?? (config.task || 'bearing-fault')), 'task'),
              // Nobody has looked at it yet.
              local: { label: 'unknown', confidence: null, probabilities: [], digest: 'none' },
              window,
              ...(typeof message.shaftHz === 'number' && { shaftHz: message.shaftHz }),
            },
          )
          return { payload: answered(await verdict) }
        }),
      )
      this.on('close', (_removed, done) => {
        unsubscribe()
        verdicts.abandon()
        hide()
        done()
      })
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType(
    'faultline-escalate',
    FaultlineEscalate as (this: never, config: NodeConfig<EscalateConfig>) => void,
  )
}

/** Only devices escalate, and hear the verdicts: this node is one (`protocol/access.ts`). */
function deviceOf({ identity }: BrokerLink): Identity & { site: string } {
  const { role, site } = identity
  if (role === 'device' && site !== undefined) return { ...identity, site }
  throw new FaultlineError(
    'CONFIG_INVALID',
    `the broker of this node needs the identity of a device, not ${identity.name}`,
  )
}

function windowOf({ payload, rateHz, shape }: NodeMessage, standardRateHz: number): DecodedWindow {
  const isList = Array.isArray(payload) || (ArrayBuffer.isView(payload) && !(payload instanceof DataView))
  const values = isList ? Float32Array.from(payload as ArrayLike<number>) : undefined
  if (!values || values.length === 0) {
    throw new FaultlineError('WINDOW_INVALID', 'the payload must be a list of numbers, or the bytes of an image')
  }
  const sizes = Array.isArray(shape) ? shape.map(Number) : [values.length]
  return { samples: values, shape: sizes, rateHz: typeof rateHz === 'number' ? rateHz : standardRateHz }
}

function answered(verdict: Verdict): Verdict {
  if (!isRejected(verdict)) return verdict
  throw new FaultlineError('ESCALATION_REJECTED', `the escalation was rejected: ${verdict.rejected}`)
}
