import { spawnSync } from 'node:child_process'
import { statfsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** A file system of its own in memory, whose size can be changed while it is in use. */
export class SmallDisk {
  readonly directory: string

  private constructor(directory: string) {
    this.directory = directory
  }

  /** Undefined where this process may not mount. */
  static mount(directory: string, bytes: number): SmallDisk | undefined {
    const { status } = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', directory])
    return status === 0 ? new SmallDisk(directory) : undefined
  }

  /** Mounts one in the place of a new directory; both are gone after the test. Undefined where this process may not mount. */
  static async make(t: Pick<TestContext, 'after'>, bytes: number): Promise<SmallDisk | undefined> {
    const directory = await mkdtemp(join(tmpdir(), 'faultline-small-'))
    const disk = SmallDisk.mount(directory, bytes)
    t.after(async () => {
      disk?.unmount()
      await rm(directory, { recursive: true, force: true })
    })
    return disk
  }

  /** Leaves what is stored as it is, and not a byte beside it. */
  fill(): void {
    for (;;) {
      const { blocks, bfree, bsize } = statfsSync(this.directory)
      try {
        this.resize((blocks - bfree) * bsize)
        return
      } catch (thrown) {
        // A process that writes to it has taken more meanwhile.
        if (statfsSync(this.directory).bfree === bfree) throw thrown
      }
    }
  }

  resize(bytes: number): void {
    this.remount(`size=${bytes}`)
  }

  /** Takes no writes, or takes them again. */
  setReadOnly(isReadOnly: boolean): void {
    this.remount(isReadOnly ? 'ro' : 'rw')
  }

  /** Also while a process that is about to end has files open there. */
  unmount(): void {
    spawnSync('umount', ['--lazy', this.directory])
  }

  private remount(option: string): void {
    const { status, stderr } = spawnSync('mount', ['-o', `remount,${option}`, this.directory])
    if (status !== 0) throw new Error(`the disk cannot be mounted again with ${option}: ${stderr}`)
  }
}
