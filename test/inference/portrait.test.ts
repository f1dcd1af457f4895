import assert from 'node:assert/strict'
import { test } from 'node:test'
import { amplitudeSpectrum, BearingSimulator, portraitOf, skf6205, velocityRms } from '@faultline/inference'

const rateHz = 12_000

function sine(hz: number, peak: number, length: number): Float32Array {
  return Float32Array.from({ length }, (_, i) => peak * Math.sin((2 * Math.PI * hz * i) / rateHz))
}

test('velocity of a sine of 1 g at 100 Hz is 11.04 mm/s, however long the window', () => {
  for (const length of [2_048, 3_000, 12_000]) {
    const velocity = velocityRms(amplitudeSpectrum(sine(100, 1, length), rateHz), length)
    assert.ok(Math.abs(velocity - 9_806.65 / (2 * Math.PI * 100) / Math.SQRT2) < 0.1, `${length}: ${velocity}`)
  }
})

test('velocity leaves out what is below 10 Hz and above 1,000 Hz', () => {
  for (const hz of [3, 2_000])
    assert.ok(velocityRms(amplitudeSpectrum(sine(hz, 1, 12_000), rateHz), 12_000) < 0.05, `${hz} Hz`)
})

test('the envelope of a bearing with a defect has a line under the cursor of that defect', () => {
  for (const [fault, name] of [
    ['outer-race', 'bpfo'],
    ['inner-race', 'bpfi'],
  ] as const) {
    const simulator = new BearingSimulator({ rateHz, shaftHz: 29, fault, seed: 2, severity: () => 1 })
    const samples = simulator.next(4_096)
    const { shaftHz } = simulator
    const { envelope, cursors } = portraitOf({ samples, shape: [samples.length], rateHz, shaftHz }, skf6205)
    const median = envelope.values.toSorted((a, b) => a - b)[envelope.values.length >> 1]!
    const at = Math.round(cursors.find(cursor => cursor.name === name && cursor.harmonic === 1)!.hz / envelope.stepHz)
    const line = Math.max(...envelope.values.slice(at - 1, at + 2))
    assert.ok(line > 10 * median, `${fault}: ${line} under its cursor, ${median} in the middle`)
  }
})

test('a window whose speed nobody knows has spectra and no cursors', () => {
  const samples = sine(100, 1, 2_048)
  const { cursors, spectrum, waveform, ...rest } = portraitOf({ samples, shape: [2_048], rateHz }, skf6205)
  assert.deepEqual(cursors, [])
  assert.equal('shaftHz' in rest, false)
  assert.equal(waveform.length, 2_048)
  assert.ok(Math.abs(spectrum.values.indexOf(Math.max(...spectrum.values)) * spectrum.stepHz - 100) < spectrum.stepHz)
})
