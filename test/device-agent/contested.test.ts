import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { StatusBoard } from '../../device-agent/status-page/status-board.ts'
import { type BrokerAccess, startAgentBroker } from '../support/agent-broker.ts'
import { device, site, startDevice } from '../support/edge.ts'
import { logFile } from '../support/log-file.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { missing } from '../support/programs.ts'
import { tinyLocalModel } from '../support/tiny-models.ts'

const brokers: Record<string, (t: TestContext) => Promise<BrokerAccess>> = {
  'the broker': startAgentBroker,
  Mosquitto: startMosquitto,
}

for (const [name, startBroker] of Object.entries(brokers)) {
  test(`over ${name}, agents with one identity say so, and the one that is left connects`, {
    timeout: 60_000,
    skip: name === 'Mosquitto' && missing('mosquitto'),
  }, async t => {
    const broker = await startBroker(t)
    const { logger, lines } = await logFile(t)
    const access = { url: broker.url, secret: broker.secret, backOff: { initialMs: 5, maximumMs: 1_000 } }
    const first = await startDevice(t, broker, { broker: access, logger })
    const second = await startDevice(t, broker, { broker: access })
    const { agent } = first
    const board = new StatusBoard({ site, device, agent, points: [], model: () => tinyLocalModel })
    while (board.device.problems.length === 0) await delay(20)
    assert.equal(board.device.problems[0]!.code, 'IDENTITY_CONTESTED')
    assert.match(board.device.problems[0]!.message, /another client uses this identity/)
    assert.equal(agent.health?.problems?.[0]?.code, 'IDENTITY_CONTESTED')
    assert.equal(lines().filter(({ code }) => code === 'IDENTITY_CONTESTED').length, 1)
    await second.agent.stop()
    while (!agent.online) await delay(20)
  })
}
