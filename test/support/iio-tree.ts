import { spawnSync } from 'node:child_process'
import { mkdir, open, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { TestContext } from 'node:test'
import { temporaryDirectory } from './temp.ts'

/** A sysfs tree and a character device as the kernel shows them for one sensor; the device is a FIFO. */
export class IioTree {
  readonly sysfs: string
  readonly dev: string
  private readonly directory: string
  private writer: Awaited<ReturnType<typeof open>> | undefined

  private constructor(directory: string) {
    this.sysfs = join(directory, 'sysfs')
    this.dev = join(directory, 'dev')
    this.directory = join(this.sysfs, 'iio:device0')
  }

  /** @param attributes Files below the device's directory, besides those every buffer has. */
  static async create(t: TestContext, attributes: Record<string, string>): Promise<IioTree> {
    const tree = new IioTree(await temporaryDirectory(t))
    const always = { name: 'adxl345', 'buffer/enable': '0', 'buffer/length': '2', 'trigger/current_trigger': '' }
    for (const [name, text] of Object.entries({ ...always, ...attributes })) {
      await mkdir(dirname(join(tree.directory, name)), { recursive: true })
      await writeFile(join(tree.directory, name), `${text}\n`)
    }
    await mkdir(tree.dev)
    const fifo = join(tree.dev, 'iio:device0')
    spawnSync('mkfifo', [fifo])
    // For reading too, or opening would wait for a reader.
    tree.writer = await open(fifo, 'r+')
    t.after(async () => {
      const { writer } = tree
      tree.writer = undefined
      await writer?.close()
    })
    return tree
  }

  async attribute(name: string): Promise<string> {
    return (await readFile(join(this.directory, name), 'utf8')).trim()
  }

  async feed(scans: Buffer): Promise<void> {
    await this.writer?.write(scans)
  }
}

/** The files of one channel. */
export const scanElement = (name: string, index: number, type: string, enabled = false): Record<string, string> => ({
  [`scan_elements/in_${name}_en`]: enabled ? '1' : '0',
  [`scan_elements/in_${name}_index`]: String(index),
  [`scan_elements/in_${name}_type`]: type,
})
