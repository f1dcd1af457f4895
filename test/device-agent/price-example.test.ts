import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Circumstances, checkPriceList, loadBundle, quote } from '@faultline/inference'
import { budget } from '@faultline/protocol'
import { parse } from 'yaml'
import { expectedSize } from '../../device-agent/decisions/escalation-size.ts'
import { root } from '../support/processes.ts'

/** Bytes of the escalation of a window of 2,048 samples, judged by the shipped local model. */
async function escalationBytes(): Promise<number> {
  const { description, digest } = await loadBundle(join(root, 'models/bearing-local'))
  const { name, version, task, classes } = description
  const window = {
    samples: Float32Array.from({ length: 2_048 }, (_, i) => Math.sin(i)),
    shape: [2_048],
    rateHz: 12_000,
  }
  const address = { kind: 'escalation', site: 'plant-a', device: 'press-3', point: 'motor-de' } as const
  const model = { model: { name, version, digest }, classes, task, engine: 'onnx', classify: async () => [] }
  const place = { point: 'motor-de', machine: 'press-3-motor' }
  return expectedSize(address, place, { window: { ...window, shaftHz: 29.5 }, at: new Date() }, model).packet
}

const digits = (value: number): string => value.toLocaleString('en', { maximumSignificantDigits: 2 })

test('the example of the guide is what its price list comes to', async () => {
  const page = await readFile(join(root, 'docs/guides/which-policy.md'), 'utf8')
  const yaml = /```yaml\n(prices:[\s\S]*?)```/.exec(page)?.[1]
  assert.ok(yaml, 'the guide has no price list')
  const settings = parse(yaml) as { prices: unknown; budget: unknown }
  const prices = checkPriceList(settings.prices)
  const limits = budget.parse(settings.budget)
  const bytes = await escalationBytes()
  const cases: [string, Omit<Circumstances, 'bytes' | 'serverSeconds'>][] = [
    ['ethernet', { link: 'ethernet' }],
    ['LTE', { link: 'lte' }],
    ['LTE, battery at 15 %', { link: 'lte', batteryLevel: 0.15 }],
    ['LTE, servers announce 4 s of a deadline of 5 s', { link: 'lte', serverLoad: 0.8 }],
  ]
  const unit = Math.max(prices.missedFaultCost, prices.falseAlarmCost)
  const rows = cases.map(([name, circumstances]) => {
    const { price, costs, numbers } = quote(prices, { bytes, serverSeconds: 0.002, ...circumstances })
    const { priceBytes = 0, priceEnergy = 0, priceServer = 0 } = numbers
    const euros = (priceBytes + priceEnergy + priceServer) * unit
    return `| ${[name, `${digits(euros)} €`, digits(price), digits(price / costs.missedFault)].join(' | ')} |`
  })
  for (const row of rows) assert.ok(page.includes(row), `not in the guide:\n${rows.join('\n')}`)
  const windows = Math.floor(limits.escalationBytesPerDay / bytes)
  const euros = (limits.bytesPerDay / 1e6) * prices.links.lte!.tariffPerMB
  for (const phrase of [
    `${bytes.toLocaleString('en')} bytes`,
    `${windows.toLocaleString('en')} windows`,
    `${euros.toFixed(2)} € a day`,
  ]) {
    assert.ok(page.includes(phrase), `not in the guide: ${phrase}`)
  }
})
