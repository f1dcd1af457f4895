import { inflateSync } from 'node:zlib'
import { FaultlineError } from '@faultline/protocol'

/** Data types of the MAT-file level 5 format, table 1-1: code, bytes per value and how to read one. */
const numbers: Record<number, { bytes: number; read: (view: DataView, at: number, little: boolean) => number }> = {
  1: { bytes: 1, read: (view, at) => view.getInt8(at) },
  2: { bytes: 1, read: (view, at) => view.getUint8(at) },
  3: { bytes: 2, read: (view, at, little) => view.getInt16(at, little) },
  4: { bytes: 2, read: (view, at, little) => view.getUint16(at, little) },
  5: { bytes: 4, read: (view, at, little) => view.getInt32(at, little) },
  6: { bytes: 4, read: (view, at, little) => view.getUint32(at, little) },
  7: { bytes: 4, read: (view, at, little) => view.getFloat32(at, little) },
  9: { bytes: 8, read: (view, at, little) => view.getFloat64(at, little) },
}

const MATRIX = 14
const COMPRESSED = 15
/** Array classes mxDOUBLE to mxUINT32; everything else (cells, structures, text, sparse) is passed over. */
const FIRST_NUMERIC_CLASS = 6
const LAST_NUMERIC_CLASS = 13
const COMPLEX_FLAG = 0x0800
const HEADER_BYTES = 128
/** More than any vibration recording needs; stops a small file from inflating without end. */
const INFLATED_LIMIT_BYTES = 512 * 1024 * 1024

interface Element {
  type: number
  data: DataView
  /** Offset of the element after this one. */
  next: number
}

/**
 * Reads the real numeric arrays of a MATLAB level 5 file, plain or compressed, by name and flattened column by column.
 * Format: "MAT-File Format", The MathWorks, level 5. Throws `RECORDING_INVALID`.
 */
export function readMat(bytes: Uint8Array): Map<string, Float64Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.byteLength < HEADER_BYTES) throw invalid('the file is shorter than its header')
  const mark = String.fromCharCode(view.getUint8(126), view.getUint8(127))
  if (mark !== 'IM' && mark !== 'MI') throw invalid('the header is not that of a level 5 file')
  const little = mark === 'IM'
  const version = view.getUint16(124, little)
  if (version === 0x0200) throw invalid('this is a version 7.3 (HDF5) file; save it with -v7')
  if (version !== 0x0100) throw invalid(`version ${version} is not known`)

  const arrays = new Map<string, Float64Array>()
  for (let at = HEADER_BYTES; at < view.byteLength; ) {
    const element = elementAt(view, at, little)
    at = element.next
    const matrix = element.type === COMPRESSED ? elementAt(inflate(element.data), 0, little) : element
    if (matrix.type !== MATRIX) continue
    const array = numericArray(matrix.data, little)
    if (array) arrays.set(array.name, array.values)
  }
  return arrays
}

/** Section "Data Elements": a tag of 8 bytes, or of 4 with up to 4 bytes of data beside it; data padded to 8 bytes. */
function elementAt(view: DataView, at: number, little: boolean): Element {
  if (at + 8 > view.byteLength) throw invalid('it ends inside an element')
  const word = view.getUint32(at, little)
  const small = word >>> 16
  if (small !== 0) {
    if (small > 4) throw invalid('a small element claims more than 4 bytes')
    return { type: word & 0xffff, data: part(view, at + 4, small), next: at + 8 }
  }
  const length = view.getUint32(at + 4, little)
  if (at + 8 + length > view.byteLength) throw invalid('an element claims more bytes than the file holds')
  const padded = word === COMPRESSED ? length : Math.ceil(length / 8) * 8
  return { type: word, data: part(view, at + 8, length), next: at + 8 + padded }
}

function numericArray(view: DataView, little: boolean): { name: string; values: Float64Array } | undefined {
  const flags = elementAt(view, 0, little)
  if (flags.data.byteLength < 4) throw invalid('an array has no flags')
  const word = flags.data.getUint32(0, little)
  const arrayClass = word & 0xff
  if (arrayClass < FIRST_NUMERIC_CLASS || arrayClass > LAST_NUMERIC_CLASS || word & COMPLEX_FLAG) return undefined
  const dimensions = elementAt(view, flags.next, little)
  const name = elementAt(view, dimensions.next, little)
  const real = elementAt(view, name.next, little)

  let count = 1
  for (let i = 0; i + 4 <= dimensions.data.byteLength; i += 4) count *= dimensions.data.getInt32(i, little)
  const format = numbers[real.type]
  if (!format) throw invalid(`values of type ${real.type} are not supported`)
  if (count * format.bytes !== real.data.byteLength)
    throw invalid('an array has not as many values as its dimensions say')
  const values = new Float64Array(count)
  for (let i = 0; i < count; i++) values[i] = format.read(real.data, i * format.bytes, little)
  return { name: new TextDecoder('latin1').decode(name.data), values }
}

function inflate(data: DataView): DataView {
  try {
    const plain = inflateSync(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), {
      maxOutputLength: INFLATED_LIMIT_BYTES,
    })
    return new DataView(plain.buffer, plain.byteOffset, plain.byteLength)
  } catch (cause) {
    throw new FaultlineError('RECORDING_INVALID', 'MAT file: a compressed element does not inflate', { cause })
  }
}

function part(view: DataView, at: number, length: number): DataView {
  return new DataView(view.buffer, view.byteOffset + at, length)
}

function invalid(what: string): FaultlineError {
  return new FaultlineError('RECORDING_INVALID', `MAT file: ${what}`)
}
