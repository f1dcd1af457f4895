/** MQTT 3.1.1, 2.2.1: the upper four bits of the first byte. */
const publish = 3

/**
 * Reads only the fixed headers of a stream of MQTT packets (MQTT 3.1.1, 2.2): one byte of type, then the remaining
 * length in one to four bytes of seven bits each. Whatever way the stream is cut into chunks, the length of a packet is
 * known before its body is kept anywhere.
 */
export class PacketCap {
  private readonly maximumBytes: number
  private readonly firstBytes: number
  private isFirst = true
  private bodyBytesLeft = 0
  private lengthBytes = 0
  private length = 0
  private expectsType = true
  private published = 0

  /**
   * `maximumBytes` bounds the remaining length: variable header (the topic is in there) and payload; `firstBytes` that of
   * the first packet, which is of somebody who has not said yet who they are.
   */
  constructor(maximumBytes: number, firstBytes = maximumBytes) {
    this.maximumBytes = maximumBytes
    this.firstBytes = firstBytes
  }

  /** How many PUBLISH packets have begun. */
  get publishes(): number {
    return this.published
  }

  /** False when the chunk announces a packet above the limit, or a length that is none; the stream is lost then. */
  accepts(chunk: Uint8Array): boolean {
    let i = 0
    while (i < chunk.length) {
      if (this.bodyBytesLeft > 0) {
        const skipped = Math.min(this.bodyBytesLeft, chunk.length - i)
        this.bodyBytesLeft -= skipped
        i += skipped
      } else if (this.expectsType) {
        this.expectsType = false
        if (chunk[i]! >> 4 === publish) this.published++
        this.length = 0
        this.lengthBytes = 0
        i++
      } else {
        const byte = chunk[i++]!
        this.length += (byte & 0x7f) << (7 * this.lengthBytes++)
        if (this.length > (this.isFirst ? this.firstBytes : this.maximumBytes)) return false
        if (byte < 0x80) {
          this.bodyBytesLeft = this.length
          this.expectsType = true
          this.isFirst = false
        } else if (this.lengthBytes === 4) return false // MQTT 3.1.1, 2.2.3: at most four bytes
      }
    }
    return true
  }
}
