import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type BearingClass, BearingSimulator } from '@faultline/inference'
import { encodeWindow } from '@faultline/protocol'
import type { HardWindow } from '@faultline/server-agent'
import { hardWindow, openArchive } from '../../server-agent/archive/windows.ts'
import { temporaryDirectory } from '../../support/temp.ts'

/** Windows of one machine that has a fault; the server is right about it, the local model is not. */
export function windowsOfMachine(
  machine: string,
  fault: BearingClass,
  count: number,
  changes: Partial<HardWindow> = {},
): HardWindow[] {
  const seed = [...machine].reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 65_521
  const simulator = new BearingSimulator({ rateHz: 12_000, shaftHz: 25, fault, seed })
  return Array.from({ length: count }, () => {
    const window = hardWindow({ machine, shaftHz: 25, ...changes })
    const samples = simulator.next(2_048)
    return {
      ...window,
      server: { ...window.server, label: fault },
      local: { ...window.local, label: fault === 'ball' ? 'normal' : 'ball' },
      window: encodeWindow({ samples, shape: [2_048], rateHz: 12_000 }),
      ...changes,
    }
  })
}

/** An archive with these windows in it, which nobody writes to any more. */
export async function writtenArchive(t: TestContext, windows: readonly HardWindow[]): Promise<string> {
  const directory = join(await temporaryDirectory(t), 'archive')
  const { archive, close } = openArchive(t, directory)
  archive.add(windows)
  close()
  return directory
}
