import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { type CommandResult, runProgramFile } from './support/command.ts'
import { temporaryDirectory } from './support/temp.ts'

async function runTests(t: TestContext, body: string, environment: NodeJS.ProcessEnv = {}): Promise<CommandResult> {
  const file = join(await temporaryDirectory(t), 'made-up.test.ts')
  await writeFile(file, `${['import', '{ test }', 'from', "'node:test'"].join(' ')}\n${body}`)
  return runProgramFile('test/run.ts', [file], { FAULTLINE_NO_SKIPS: '', FAULTLINE_MAY_SKIP: '', ...environment })
}

const passing = "test('passes', () => {})\n"
const skipping = "test('needs a server', { skip: 'influxd is not installed' }, () => {})\n"

test('tests that pass exit with 0 and are counted', async t => {
  const { code, stdout } = await runTests(t, passing)
  assert.equal(code, 0)
  assert.match(stdout, /ℹ tests 1\n(.*\n)*ℹ pass 1\n/)
})

test('a test that fails exits with 1', async t => {
  const { code, stdout } = await runTests(t, `${passing}test('fails', () => { throw new Error('no') })`)
  assert.equal(code, 1)
  assert.match(stdout, /ℹ fail 1\n/)
})

test('a file that does not load exits with 1', async t => {
  assert.equal((await runTests(t, "throw new Error('no')")).code, 1)
})

test('a skipped test passes, but not where nothing may be skipped', async t => {
  assert.equal((await runTests(t, passing + skipping)).code, 0)
  const { code, stderr } = await runTests(t, passing + skipping, { FAULTLINE_NO_SKIPS: '1' })
  assert.equal(code, 1)
  assert.match(stderr, /needs a server .*: influxd is not installed/)
  assert.equal((await runTests(t, passing, { FAULTLINE_NO_SKIPS: '1' })).code, 0)
  const influx = { FAULTLINE_NO_SKIPS: '1', FAULTLINE_MAY_SKIP: 'influxd' }
  assert.equal((await runTests(t, passing + skipping, influx)).code, 0)
  assert.equal((await runTests(t, passing + skipping, { ...influx, FAULTLINE_MAY_SKIP: 'tfjs-node' })).code, 1)
})

test('a folder without tests is a mistake of the command line', async () => {
  const { code, stderr } = await runProgramFile('test/run.ts', ['nonsense'])
  assert.equal(code, 2)
  assert.equal(stderr.trim(), 'error: there are no tests in test/nonsense (--help lists the options)')
})
