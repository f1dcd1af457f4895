import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { rowOf } from '../../bench/benchmark.ts'
import { medianMs } from '../../bench/measure.ts'
import { tableOf } from '../../bench/table.ts'

const main = join(import.meta.dirname, '../../bench/main.ts')

async function bench(...args: string[]) {
  // As the root's script starts it.
  const node = ['--disable-warning=ExperimentalWarning', '--import', import.meta.resolve('tsx')]
  const started = promisify(execFile)(process.execPath, [...node, main, ...args])
  return started.then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

test('--help lists the benchmarks', async () => {
  const { code, stdout } = await bench('--help')
  assert.equal(code, 0)
  for (const name of ['inference', 'policies', 'telemetry', 'server'])
    assert.match(stdout, new RegExp(`^ {2}${name} +\\S`, 'm'))
})

for (const args of [['constructor'], ['inference', '--nothing']]) {
  test(`"bench ${args.join(' ')}" ends in one line and exit code 2`, async () => {
    const { code, stdout, stderr } = await bench(...args)
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.equal(stderr.trim().split('\n').length, 1, stderr)
  })
}

test('a row compares with its reference, where there is one', () => {
  assert.deepEqual(rowOf('a', 'ms', 2, 8, '<= 1'), {
    case: 'a',
    metric: 'ms',
    ours: 2,
    reference: 8,
    ratio: 0.25,
    aim: '<= 1',
  })
  assert.deepEqual(rowOf('a', 'ms', 2), { case: 'a', metric: 'ms', ours: 2, reference: null, ratio: null, aim: null })
})

test('a table is aligned and shows four digits', () => {
  const lines = tableOf([rowOf('short', 'ms', 0.123456, 1, '<= 1'), rowOf('a longer case', 'windows/s', 123_456.7)])
    .split('\n')
    .slice(2)
  assert.match(lines[0]!, /^short {10}ms +0\.1235 +1\.000 +0\.12 +<= 1$/)
  assert.match(lines[1]!, /^a longer case {2}windows\/s +123457 +- +- +-$/)
})

test('the median takes at least ten calls after warming up', async () => {
  let calls = 0
  const ms = await medianMs(() => calls++, { measureMs: 0, warmUpMs: 1 })
  assert.ok(calls > 10 && ms >= 0)
})
