import { spawnSync } from 'node:child_process'
import { statfsSync } from 'node:fs'

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
    const { status, stderr } = spawnSync('mount', ['-o', `remount,size=${bytes}`, this.directory])
    if (status !== 0) throw new Error(`the disk cannot be resized to ${bytes} bytes: ${stderr}`)
  }

  /** Also while a process that is about to end has files open there. */
  unmount(): void {
    spawnSync('umount', ['--lazy', this.directory])
  }
}
