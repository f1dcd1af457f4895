// Adds numbered windows to an archive, in batches, saying each batch only once it is done, until it is killed.
import { writeSync } from 'node:fs'
import { Archive } from '@faultline/server-agent'
import { hardWindow } from '../server-agent/archive/windows.ts'

const [directory, first] = process.argv.slice(2)
const archive = Archive.open({ directory: directory!, maxBytes: 2 ** 24, maxAgeDays: 90, keep: 'windows', sites: {} })
const window = hardWindow()
for (let number = Number(first); ; number += 3) {
  archive.add([0, 1, 2].map(i => ({ ...window, id: String(number + i) })))
  writeSync(1, `+${number + 2}\n`)
}
