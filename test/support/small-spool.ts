import type { TestContext } from 'node:test'
import type { DatabaseSync } from '@faultline/runtime'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { SmallDisk } from './small-disk.ts'
import { temporaryDirectory } from './temp.ts'

/**
 * The agent's database on a disk of half a megabyte, and a way to make it larger: a file system of its own where the tests
 * may mount one, otherwise a limit of SQLite's own, which gives the same error.
 */
export async function openOnSmallDisk(t: TestContext): Promise<{ database: DatabaseSync; enlarge: () => void }> {
  const disk = await SmallDisk.make(t, 524_288)
  const database = openStorage(disk?.directory ?? (await temporaryDirectory(t)))
  t.after(() => database.isOpen && database.close())
  if (!disk) database.exec('PRAGMA max_page_count = 100')
  const enlarge = () => {
    if (disk) disk.resize(4_194_304)
    else database.exec('PRAGMA max_page_count = 1000')
  }
  return { database, enlarge }
}
