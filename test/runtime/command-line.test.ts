import assert from 'node:assert/strict'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { listenError } from '@faultline/runtime'
import { runProgramFile } from '../support/command.ts'

const program = (...args: string[]) => runProgramFile('test/runtime/fixtures/program.ts', args)

test('options are parsed and the result goes to standard output', async () => {
  const { code, stdout, stderr } = await program('--port', '0', '--speed', '2.5', '--duration', '2147483')
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  assert.deepEqual(JSON.parse(stdout), { port: 0, speed: 2.5, duration: 2_147_483 })
})

test('--help is no mistake', async () => {
  const { code, stdout, stderr } = await program('--help')
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  assert.match(stdout, /Usage: made-up/)
})

const mistakes: [what: string, args: string[], code: number, line: RegExp][] = [
  ['an unknown option', ['--prot', '1'], 2, /^error: unknown option '--prot' \(Did you mean --port\?\) \(--help/],
  ['a value out of range', ['--port', '70000'], 2, /whole number from 0 to 65535/],
  ['a value that is no number', ['--speed', 'fast'], 2, /number above 0/],
  ['a time that no timer can wait for', ['--duration', '2147484'], 2, /at most 2147483/],
  ['a missing value', ['--port'], 2, /argument missing/],
  ['a required option of a command', ['enroll'], 2, /required option '--site <site>' not specified/],
  ['a wrong configuration', ['--fail', 'configuration'], 2, /^error CONFIG_INVALID: agent\.yaml: broker\.url: /],
  ['a broker that is away', ['--fail', 'broker'], 1, /^error BROKER_UNREACHABLE: no route to plant$/],
  ['something thrown that is no error', ['--fail', 'text'], 1, /^error INTERNAL: just text$/],
]
for (const [what, args, expected, line] of mistakes) {
  test(`${what} is one line on standard error and exit code ${expected}`, async () => {
    const { code, stdout, stderr } = await program(...args)
    assert.deepEqual({ code, stdout }, { code: expected, stdout: '' })
    assert.equal(stderr.trimEnd().split('\n').length, 1, stderr)
    assert.match(stderr.trimEnd(), line)
  })
}

test('a bug shows where it happened', async () => {
  const { code, stderr } = await program('--fail', 'bug')
  assert.equal(code, 1)
  assert.match(stderr, /^error INTERNAL: undefined is not a function\nTypeError: .*\n +at /)
})

test('a taken port is named with the service that wanted it', async t => {
  const first = createServer().listen(0, '127.0.0.1')
  t.after(() => first.close())
  await new Promise(resolve => first.once('listening', resolve))
  const { port } = first.address() as { port: number }
  const second = createServer().listen(port, '127.0.0.1')
  const error = listenError(await new Promise(resolve => second.once('error', resolve)), 'broker', port)
  assert.equal(error.code, 'ADDRESS_IN_USE')
  assert.equal(error.message, `broker: port ${port} is taken`)
})
