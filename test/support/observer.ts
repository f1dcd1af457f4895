import { EventEmitter, once } from 'node:events'
import type { TestContext } from 'node:test'
import { identityOf, type Message, type Payload, type TopicKind } from '@faultline/protocol'
import { MqttSession, silentLogger } from '@faultline/runtime'
import type { BrokerAccess } from './agent-broker.ts'

export type MessageOf<K extends TopicKind> = Extract<Message, { kind: K }>

/** An operator who sees every message, and may write configurations and commands. */
export class Observer {
  readonly session: MqttSession
  readonly messages: Message[] = []
  private readonly events = new EventEmitter()

  constructor(broker: BrokerAccess, id = 'watcher') {
    this.session = new MqttSession({
      url: broker.url,
      secret: broker.secret,
      identity: identityOf('operator', id),
      subscriptions: ['faultline/v1/#'],
      onMessage: message => {
        this.messages.push(message)
        this.events.emit('message')
      },
      logger: silentLogger,
      backOff: { initialMs: 20, maximumMs: 50 },
    })
    this.events.setMaxListeners(0)
  }

  of<K extends TopicKind>(kind: K): MessageOf<K>[] {
    return this.messages.filter((message): message is MessageOf<K> => message.kind === kind)
  }

  /** The first `count` payloads of a kind that fit, as soon as they are there. */
  async see<K extends TopicKind>(
    kind: K,
    fits: (payload: Payload<K>) => boolean = () => true,
    count = 1,
  ): Promise<Payload<K>[]> {
    const signal = AbortSignal.timeout(20_000)
    for (;;) {
      const found = this.of(kind)
        .map(({ payload }) => payload as Payload<K>)
        .filter(fits)
      if (found.length >= count) return found.slice(0, count)
      await once(this.events, 'message', { signal }).catch(() => {
        throw new Error(
          `saw ${found.length} of ${count} ${kind} messages: ${JSON.stringify(this.of(kind)).slice(0, 2_000)}`,
        )
      })
    }
  }

  async seeOne<K extends TopicKind>(kind: K, fits?: (payload: Payload<K>) => boolean): Promise<Payload<K>> {
    return (await this.see(kind, fits))[0]!
  }
}

/** An observer that is connected, and leaves with the test. */
export async function observe(t: Pick<TestContext, 'after'>, broker: BrokerAccess, id?: string): Promise<Observer> {
  const observer = new Observer(broker, id)
  t.after(() => observer.session.stop())
  await observer.session.start()
  await observer.session.whenOnline(AbortSignal.timeout(20_000))
  return observer
}
