// Adds numbered messages to a spool and acknowledges some, saying each only once it is done, until it is killed.
import { writeSync } from 'node:fs'
import { Spool } from '../../device-agent/spool/spool.ts'
import { openStorage } from '../../device-agent/spool/storage.ts'

const [directory, first] = process.argv.slice(2)
const spool = new Spool(openStorage(directory!))
const topic = 'faultline/v1/devices/plant-a/pi-1/points/motor-de/inference'
for (let number = Number(first); ; number++) {
  spool.add({ kind: 'inference', topic, payload: Buffer.from(String(number)) })
  writeSync(1, `+${number}\n`)
  if (number % 3 !== 0) continue
  const [oldest] = spool.reports(0, Number.MAX_SAFE_INTEGER, 1)
  // Said before it is done: a crash may bring an acknowledged message back, never take one that is not.
  writeSync(1, `-${oldest!.payload}\n`)
  spool.acknowledge(oldest!.seq)
}
