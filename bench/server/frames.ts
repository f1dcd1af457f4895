/** Cuts a stream into frames: four bytes of length, big-endian, and so many bytes. */
export class FrameReader {
  private readonly received: (frame: Buffer) => void
  private rest: Buffer = Buffer.alloc(0)

  constructor(received: (frame: Buffer) => void) {
    this.received = received
  }

  push(chunk: Buffer): void {
    this.rest = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk])
    while (this.rest.length >= 4) {
      const end = 4 + this.rest.readUInt32BE(0)
      if (this.rest.length < end) return
      this.received(this.rest.subarray(4, end))
      this.rest = this.rest.subarray(end)
    }
  }
}

export function frameOf(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.byteLength)
  return Buffer.concat([head, bytes])
}
