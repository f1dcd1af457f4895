import {
  type AnsweredVerdict,
  type Escalation,
  FaultlineError,
  type ModelReference,
  type WireWindow,
} from '@faultline/protocol'

/** Of an escalated window and its verdict, what is kept. */
export interface HardWindow
  extends Pick<Escalation, 'id' | 'at' | 'machine' | 'task' | 'reason' | 'alarm' | 'shaftHz' | 'bearing' | 'local'> {
  site: string
  device: string
  point: string
  /** On the server's clock; the device's own may be wrong. */
  receivedAt: string
  server: Pick<AnsweredVerdict, 'label' | 'confidence' | 'probabilities' | 'agent'> & {
    model: ModelReference
    /** In the order of the probabilities, where they were known. */
    classes?: readonly string[]
  }
  /** Signal features by name; none of an image. */
  features: Record<string, number>
  /** As it travelled; absent where only features are kept. */
  window?: WireWindow
}

const version = 1
const lengthBytes = 4

/**
 * A window as it is stored: the length of a JSON text, the text, and the samples as they came. Little-endian.
 */
export function encodeHardWindow({ window, ...rest }: HardWindow): Buffer {
  const { bytes = new Uint8Array(), ...form } = window ?? {}
  const text = Buffer.from(JSON.stringify({ v: version, ...rest, ...(window && { window: form }) }))
  const length = Buffer.alloc(lengthBytes)
  length.writeUInt32LE(text.byteLength)
  return Buffer.concat([length, text, bytes])
}

/** Reads what `encodeHardWindow` wrote. Throws `ARCHIVE_FAILED` for what a newer version wrote. */
export function decodeHardWindow(content: Buffer): HardWindow {
  const end = lengthBytes + content.readUInt32LE(0)
  const { v, window, ...rest } = JSON.parse(content.toString('utf8', lengthBytes, end))
  if (v !== version)
    throw new FaultlineError('ARCHIVE_FAILED', `a window has version ${v}, this software reads ${version}`)
  return { ...rest, ...(window && { window: { ...window, bytes: new Uint8Array(content.subarray(end)) } }) }
}
