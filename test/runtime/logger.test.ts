import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createLogger } from '@faultline/runtime'
import { temporaryDirectory } from '../support/temp.ts'

test('a log holds what happened and no secret', async t => {
  const file = join(await temporaryDirectory(t), 'below', 'agent.log')
  const logger = createLogger('agent', { file, level: 'info' })
  const hidden = 'correct horse'
  logger.info({ secret: hidden, password: hidden, broker: { url: 'mqtt://h', secret: hidden, password: hidden } }, 'up')
  logger.child({ device: 'pi-1' }).warn({ options: { secret: hidden } }, 'child')
  const text = await readFile(file, 'utf8')
  assert.ok(!text.includes(hidden), text)
  const [first, second] = text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
  assert.deepEqual([first.name, first.msg, first.broker.url], ['agent', 'up', 'mqtt://h'])
  assert.deepEqual([second.device, second.msg], ['pi-1', 'child'])
})

test('a level leaves out what is below it', async t => {
  const file = join(await temporaryDirectory(t), 'agent.log')
  const logger = createLogger('agent', { file, level: 'warn' })
  logger.info('quiet')
  logger.warn('loud')
  const text = await readFile(file, 'utf8')
  assert.ok(text.includes('loud') && !text.includes('quiet'), text)
})
