import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Message, parseIdentity, topicFilter, type UpdateState } from '@faultline/protocol'
import { Registry } from '@faultline/provisioning'
import { MqttSession, silentLogger } from '@faultline/runtime'
import type { BrokerAccess } from './agent-broker.ts'
import { type CommandResult, runCommand } from './command.ts'
import { temporaryDirectory } from './temp.ts'

const soon = () => AbortSignal.timeout(60_000)

/** A registry of devices, the file of an operator's secret, and `provision -- rollout` on them. */
export async function fleetRegistry(t: TestContext, broker: BrokerAccess, names: readonly string[]) {
  const directory = await temporaryDirectory(t)
  const file = join(directory, 'registry.db')
  const registry = new Registry(file)
  await registry.start()
  for (const name of names) registry.enrollToClaim(parseIdentity(name), 1_000)
  await registry.stop()
  const secret = join(directory, 'secret')
  await writeFile(secret, broker.secret)
  const provision = (...args: string[]): Promise<CommandResult> =>
    runCommand('provisioning/main.ts', ['rollout', ...args, '--registry', file])
  return { directory, registry: file, secret, provision }
}

/** A device that says what a test has it say. */
export class ScriptedDevice {
  readonly session: MqttSession
  readonly heard: Message[] = []
  private readonly place: { site: string; device: string }

  constructor(broker: BrokerAccess, name: string) {
    const { site, id } = parseIdentity(name)
    this.place = { site: site!, device: id }
    this.session = new MqttSession({
      url: broker.url,
      secret: broker.secret,
      identity: parseIdentity(name),
      subscriptions: (['update-offer', 'update-chunk'] as const).map(kind => topicFilter(kind, this.place)),
      onMessage: message => {
        this.heard.push(message)
        this.session.emit('heard' as 'online')
      },
      logger: silentLogger,
    })
  }

  async status(id: string, state: UpdateState, error?: { code: string; message: string }): Promise<void> {
    const digest = `sha256:${'0'.repeat(64)}`
    const status = { id, kind: 'bundle' as const, digest, at: new Date().toISOString(), state, ...(error && { error }) }
    await this.session.publish({ kind: 'update-status', ...this.place }, status)
  }

  /** It leaves; the connection of the test stays. */
  async leaves(): Promise<void> {
    await this.session.publish(
      { kind: 'state', ...this.place },
      { online: false, boot: 1, at: new Date().toISOString() },
    )
  }

  /** It runs a model with this digest. */
  async runs(digest: string): Promise<void> {
    const model = {
      name: 'm',
      version: '1.0.0',
      digest,
      task: 't',
      role: 'local' as const,
      engine: 'onnx',
      enginesRejected: [],
    }
    await this.session.publish(
      { kind: 'state', ...this.place },
      {
        online: true,
        at: new Date().toISOString(),
        boot: 1,
        clockSynchronised: true,
        agentVersion: '1',
        models: [model],
        policy: { name: 'never', parameters: {} },
        points: [],
      },
    )
  }

  async ask(id: string, sha256: string, offset: number, bytes: number): Promise<void> {
    await this.session.publish({ kind: 'update-request', ...this.place }, { id, sha256, offset, bytes })
  }

  async hears(kind: Message['kind'], count = 1): Promise<Message[]> {
    for (;;) {
      const found = this.heard.filter(message => message.kind === kind)
      if (found.length >= count) return found
      await once(this.session, 'heard', { signal: soon() })
    }
  }
}
