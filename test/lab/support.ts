import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type BearingClass, BearingSimulator, bearingClasses } from '@faultline/inference'
import { uestcBearing } from '../../lab/evaluation/rigs.ts'
import { comparedDiameters } from '../../lab/splits.ts'

const RATE_HZ = 12_000
const FAULTS: BearingClass[] = ['ball', 'inner-race', 'outer-race']

/** Writes a small data set shaped like CWRU's: three faults, three sizes, four loads, one normal recording. */
export async function writeSmallDataset(directory: string): Promise<void> {
  const entries = [await writeRecording(directory, 'normal', 0, 0, 5 * RATE_HZ)]
  for (const fault of FAULTS)
    for (const [size, diameter] of comparedDiameters.entries())
      for (const load of [0, 1, 2, 3])
        entries.push(await writeRecording(directory, fault, diameter, load, RATE_HZ, (size + 1) / 3))
  await writeFile(join(directory, 'manifest.json'), JSON.stringify(entries))
}

async function writeRecording(
  directory: string,
  fault: BearingClass,
  diameter: number,
  load: number,
  length: number,
  severity = 1,
): Promise<object> {
  const rpm = 1797 - 22 * load
  const seed = Math.round(diameter * 1e6) + load
  const simulator = new BearingSimulator({ rateHz: RATE_HZ, shaftHz: rpm / 60, fault, seed, severity: () => severity })
  const bytes = Buffer.from(simulator.next(length).buffer)
  const file = `${fault}-${diameter}-${load}.f32`
  await writeFile(join(directory, file), bytes)
  return {
    file,
    class: fault,
    samplingRateHz: RATE_HZ,
    samples: length,
    sha256: createHash('sha256').update(bytes).digest('hex'),
    rpm,
    loadHp: load,
    faultDiameterInch: diameter,
  }
}

const UESTC_RATE_HZ = 20_000

/** Writes a small data set shaped like UESTC's: four classes at two speeds, each run in two consecutive parts. */
export async function writeSmallRuns(directory: string): Promise<void> {
  const entries: object[] = []
  for (const rpm of [800, 1200])
    for (const name of bearingClasses) {
      // Commissioning learns from 20 s of normal and judges the rest.
      const seconds = name === 'normal' ? 24 : 2
      const simulator = new BearingSimulator({
        rateHz: UESTC_RATE_HZ,
        shaftHz: rpm / 60,
        fault: name,
        seed: rpm,
        bearing: uestcBearing,
        impactG: 3,
      })
      for (const part of [1, 2]) {
        const samples = simulator.next((seconds * UESTC_RATE_HZ) / 2)
        const bytes = Buffer.from(samples.buffer)
        const file = `${name}-${rpm}-${part}.f32`
        await writeFile(join(directory, file), bytes)
        entries.push({
          file,
          class: name,
          samplingRateHz: UESTC_RATE_HZ,
          samples: samples.length,
          sha256: createHash('sha256').update(bytes).digest('hex'),
          rpm,
          recordingGroup: `${name}-${rpm}`,
        })
      }
    }
  await writeFile(join(directory, 'manifest.json'), JSON.stringify(entries))
}
