import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { extractFeatures, openDataset } from '@faultline/inference'
import { dataDirectory, missingData } from '../support/data.ts'

const skip = missingData('cwru')
const SAMPLES = 4_096

/** Mean of a feature over the first windows of a recording. */
async function meansOf(id: string): Promise<Record<string, number>> {
  const dataset = await openDataset(join(dataDirectory, 'cwru'))
  const { rateHz, shaftHz } = dataset.recordings.find(recording => recording.id === id)!
  const samples = await dataset.read(id)
  const means: Record<string, number> = {}
  const windows = 12
  for (let i = 0; i < windows; i++) {
    const part = samples.slice(i * SAMPLES, (i + 1) * SAMPLES)
    const features = extractFeatures({ samples: part, shape: [SAMPLES], rateHz, shaftHz })
    for (const [name, value] of Object.entries(features)) means[name] = (means[name] ?? 0) + value / windows
  }
  return means
}

test('the outer-race recording 130 has its envelope energy at BPFO', { skip }, async () => {
  const { bpfo1, bpfi1, bsf1 } = await meansOf('12k-DE_130_DE')
  assert.ok(bpfo1! > 5 * bpfi1! && bpfo1! > 5 * bsf1!, `${bpfo1} ${bpfi1} ${bsf1}`)
})

test('the inner-race recording 209 has its envelope energy at BPFI', { skip }, async () => {
  const { bpfo1, bpfi1, bsf1 } = await meansOf('12k-DE_209_DE')
  assert.ok(bpfi1! > 5 * bpfo1! && bpfi1! > 5 * bsf1!, `${bpfo1} ${bpfi1} ${bsf1}`)
})

test('the sound bearing has the level that is known for it, Gaussian, with no defect in its envelope', {
  skip,
}, async () => {
  const { rms, kurtosis, bpfo1, bpfi1, bsf1 } = await meansOf('normal_97_DE_decimated12k')
  assert.ok(rms! > 0.055 && rms! < 0.08, String(rms))
  assert.ok(Math.abs(kurtosis! - 3) < 0.5, String(kurtosis))
  for (const share of [bpfo1!, bpfi1!, bsf1!]) assert.ok(share < 0.03, `${bpfo1} ${bpfi1} ${bsf1}`)
})
