import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { DatabaseSync } from '@faultline/runtime'
import { openStorage } from '../../device-agent/spool/storage.ts'
import { SmallDisk } from './small-disk.ts'

/**
 * The agent's database on a disk of half a megabyte, and a way to make it larger: a file system of its own where the tests
 * may mount one, otherwise a limit of SQLite's own, which gives the same error.
 */
export async function openOnSmallDisk(t: TestContext): Promise<{ database: DatabaseSync; enlarge: () => void }> {
  const directory = await mkdtemp(join(tmpdir(), 'faultline-small-'))
  const disk = SmallDisk.mount(directory, 524_288)
  const database = openStorage(directory)
  t.after(async () => {
    if (database.isOpen) database.close()
    disk?.unmount()
    await rm(directory, { recursive: true, force: true })
  })
  if (!disk) database.exec('PRAGMA max_page_count = 100')
  const enlarge = () => {
    if (disk) disk.resize(4_194_304)
    else database.exec('PRAGMA max_page_count = 1000')
  }
  return { database, enlarge }
}
