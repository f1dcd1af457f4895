import { type FileHandle, open } from 'node:fs/promises'
import { maxChunkBytes, type UpdateRequest, type UpdateStatus } from '@faultline/protocol'
import type { MqttSession } from '@faultline/runtime'

type Place = { site: string; device: string }

/** Gives devices the parts of an archive that they ask for. What a device asks anew ends what it asked before. */
export class ChunkServer {
  private readonly path: string
  private readonly session: Pick<MqttSession, 'publish'>
  private file: FileHandle | undefined
  private readonly serving = new Map<string, UpdateRequest>()
  private readonly open = new Set<Promise<void>>()

  constructor(path: string, session: Pick<MqttSession, 'publish'>) {
    this.path = path
    this.session = session
  }

  async stop(): Promise<void> {
    this.serving.clear()
    await Promise.allSettled(this.open)
    await this.file?.close()
    this.file = undefined
  }

  /** One chunk after the other, each once the broker has the one before. Rejects where the archive cannot be read. */
  serve(place: Place, request: UpdateRequest): Promise<void> {
    const served = this.send(place, request).finally(() => this.open.delete(served))
    this.open.add(served)
    return served
  }

  private async send({ site, device }: Place, request: UpdateRequest): Promise<void> {
    const key = `${site}/${device}`
    this.serving.set(key, request)
    this.file ??= await open(this.path, 'r')
    const end = request.offset + request.bytes
    for (let offset = request.offset; offset < end; offset += maxChunkBytes) {
      const bytes = Buffer.alloc(Math.min(maxChunkBytes, end - offset))
      const { bytesRead } = await this.file.read(bytes, 0, bytes.byteLength, offset)
      if (bytesRead === 0 || this.serving.get(key) !== request) return
      const chunk = {
        id: request.id as UpdateStatus['id'],
        offset,
        bytes: new Uint8Array(bytes.subarray(0, bytesRead)),
      }
      await this.session.publish({ kind: 'update-chunk', site, device }, chunk)
    }
  }
}
