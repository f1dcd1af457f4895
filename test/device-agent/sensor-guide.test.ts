import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createSource, sourceConfig } from '@faultline/device-agent'
import { parse } from 'yaml'
import { root } from '../support/processes.ts'

const guide = await readFile(join(root, 'docs/guides/sensors.md'), 'utf8')
const sources = [...guide.matchAll(/^```yaml\n(.*?)^```/gms)].flatMap(([, text]) => {
  const content = parse(text!) as { source?: unknown } | { source?: unknown }[]
  return [content].flat().flatMap(({ source }) => source ?? [])
})

test('every source of the sensor guide is a source, and leaves nothing to be assumed', async () => {
  const kinds = new Set<string>()
  for (const source of sources) {
    const config = sourceConfig.parse(source)
    kinds.add(config.kind)
    if (config.kind === 'file') {
      assert.ok(config.unit !== undefined && config.rateHz !== undefined)
      continue
    }
    await createSource(config, { samples: 2_048, rateHz: 12_000 }, [], assumption => assert.fail(assumption))
  }
  assert.deepEqual([...kinds].sort(), ['command', 'file', 'iio', 'mqtt'])
})
