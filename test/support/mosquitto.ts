import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type BrokerAccess, startAgentBroker } from './agent-broker.ts'
import { freePort, startProgram } from './processes.ts'
import { findProgram } from './programs.ts'
import { temporaryDirectory } from './temp.ts'

export type BrokerKind = 'faultline' | 'mosquitto'

/** What end-to-end tests run over that do not say: `TEST_BROKER=mosquitto npm test -- e2e`. */
export const usualBroker = (process.env.TEST_BROKER ?? 'faultline') as BrokerKind

/** A broker of that kind. */
export const startUsualBroker = (t: TestContext): Promise<BrokerAccess> =>
  usualBroker === 'mosquitto' ? startMosquitto(t) : startAgentBroker(t)

/** Mosquitto, which asks nobody who they are; with more lines of configuration. */
export async function startMosquitto(t: TestContext, more: readonly string[] = []): Promise<BrokerAccess> {
  const port = await freePort()
  const file = join(await temporaryDirectory(t), 'mosquitto.conf')
  const lines = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'set_tcp_nodelay true', ...more]
  await writeFile(file, `${lines.join('\n')}\n`)
  const mosquitto = startProgram(t, findProgram('mosquitto')!, ['-c', file])
  await mosquitto.said(/mosquitto version \S+ running/)
  return { url: `mqtt://127.0.0.1:${port}`, secret: 'unasked' }
}
