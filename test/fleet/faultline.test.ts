import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { components } from '../../fleet/reference/components.ts'
import { runCommand } from '../support/command.ts'
import { temporaryDirectory } from '../support/temp.ts'

const faultline = (...args: string[]) => runCommand('fleet/faultline.ts', args)

for (const { script, title, example } of components) {
  test(`a file of the ${title.toLowerCase()} without a version is recognised and gets one`, async t => {
    const directory = await temporaryDirectory(t)
    const file = join(directory, 'file.yaml')
    await writeFile(file, `# Ours\n${example.replace('version: 1\n', '').trimStart()}`)
    const checked = await faultline('config', 'check', file)
    // A file of few entries may be good for several programs.
    const name = /--component/.test(checked.stderr) ? ['--component', script] : []
    const { code, stdout, stderr } = await faultline('config', 'migrate', file, ...name)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /rewritten; as it was: .*\.bak\n$/)
    assert.match(await readFile(file, 'utf8'), /^# Ours\n\nversion: 1\n/)
    assert.equal((await readdir(directory)).length, 2)
    const again = await faultline('config', 'migrate', file, ...name)
    assert.match(again.stdout, /in the present format already\n$/)
    assert.equal((await readdir(directory)).length, 2)
  })
}

test('a file that no program starts from is one error that says how to see what is wrong', async t => {
  const file = join(await temporaryDirectory(t), 'file.yaml')
  await writeFile(file, 'site: plant-a\ndevise: press-3\n')
  const { code, stderr } = await faultline('config', 'check', file)
  assert.equal(code, 2)
  assert.match(stderr, /^error CONFIG_INVALID: .*no program starts.*--component/)
  const named = await faultline('config', 'check', file, '--component', 'device-agent')
  assert.match(named.stderr, /^error CONFIG_INVALID: .*file\.yaml: /)
})
