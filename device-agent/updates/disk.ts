import { createWriteStream } from 'node:fs'
import { appendFile, mkdir, open, rename, rm, symlink } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'

/**
 * Every change that updates make to the disk. Each is there after a power cut once it has returned, but for `append`, whose bytes
 * are hashed as a whole before they are used.
 */
export class Disk {
  /** All of a small file or the one before: never a part of it. */
  async write(path: string, content: string): Promise<void> {
    const temporary = `${path}.new`
    await this.effect(`write ${path}`, async () => {
      const file = await open(temporary, 'w', 0o600)
      try {
        await file.writeFile(content)
        await file.sync()
      } finally {
        await file.close()
      }
    })
    await this.move(temporary, path)
  }

  /** A file or a directory takes the name, and the place of a file that has it. */
  async move(from: string, to: string): Promise<void> {
    await this.effect(`move ${to}`, async () => {
      await rename(from, to)
      await sync(dirname(to))
    })
  }

  /** A symbolic link takes the place of the one before, in one step. */
  async link(target: string, path: string): Promise<void> {
    const temporary = `${path}.new`
    await this.remove(temporary)
    await this.effect(`link ${path}`, () => symlink(target, temporary))
    await this.move(temporary, path)
  }

  async append(path: string, bytes: Uint8Array): Promise<void> {
    await this.effect(`append ${path}`, () => appendFile(path, bytes))
  }

  /** A new file with everything that comes. */
  async fill(path: string, content: AsyncIterable<Uint8Array>, mode: number): Promise<void> {
    await this.effect(`fill ${path}`, async () => {
      await pipeline(content, createWriteStream(path, { flags: 'wx', mode }))
      await sync(path)
      await sync(dirname(path))
    })
  }

  async makeDirectory(path: string): Promise<void> {
    await this.effect(`make ${path}`, async () => {
      await mkdir(path, { recursive: true })
      await sync(path)
      await sync(dirname(path))
    })
  }

  /** A file, or a directory with all that is in it; nothing where there is none. */
  async remove(path: string): Promise<void> {
    await this.effect(`remove ${path}`, async () => {
      await rm(path, { recursive: true, force: true })
      await sync(dirname(path))
    })
  }

  /** Around each change, so that a test can have the power cut between any two. */
  protected effect(_name: string, work: () => Promise<void>): Promise<void> {
    return work()
  }
}

/** Of a directory: its entries. */
async function sync(path: string): Promise<void> {
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
