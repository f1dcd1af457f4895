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
const STRUCTURE_CLASS = 2
/** Array classes mxDOUBLE to mxUINT32; everything else (cells, text, sparse) is passed over. */
const FIRST_NUMERIC_CLASS = 6
const LAST_NUMERIC_CLASS = 13
const COMPLEX_FLAG = 0x0800
const HEADER_BYTES = 128
/** More than any vibration recording needs; stops a small file from inflating without end. */
const INFLATED_LIMIT_BYTES = 512 * 1024 * 1024

/** A real numeric array, flattened column by column. */
export interface MatArray {
  rows: number
  columns: number
  values: Float64Array
}

interface Element {
  type: number
  data: DataView
  /** Offset of the element after this one. */
  next: number
}

/**
 * Reads the real numeric arrays of a MATLAB level 5 file, plain or compressed, by name; those in a structure as
 * `structure.field`. Format: "MAT-File Format", The MathWorks, level 5. Throws `RECORDING_INVALID`.
 */
export function readMat(bytes: Uint8Array): Map<string, MatArray> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (view.byteLength < HEADER_BYTES) throw invalid('the file is shorter than its header')
  const mark = String.fromCharCode(view.getUint8(126), view.getUint8(127))
  if (mark !== 'IM' && mark !== 'MI') throw invalid('the header is not that of a level 5 file')
  const little = mark === 'IM'
  const version = view.getUint16(124, little)
  if (version === 0x0200) throw invalid('this is a version 7.3 (HDF5) file; save it with -v7')
  if (version !== 0x0100) throw invalid(`version ${version} is not known`)

  const arrays = new Map<string, MatArray>()
  for (let at = HEADER_BYTES; at < view.byteLength; ) {
    const element = elementAt(view, at, little)
    at = element.next
    const matrix = element.type === COMPRESSED ? elementAt(inflate(element.data), 0, little) : element
    if (matrix.type !== MATRIX) continue
    addArrays(matrix.data, little, '', arrays)
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

/** Adds an array, or those in the fields of a structure; `prefix` names the structure it is in. */
function addArrays(view: DataView, little: boolean, prefix: string, arrays: Map<string, MatArray>): void {
  if (view.byteLength === 0) return
  const flags = elementAt(view, 0, little)
  if (flags.data.byteLength < 4) throw invalid('an array has no flags')
  const word = flags.data.getUint32(0, little)
  const arrayClass = word & 0xff
  const isNumeric = arrayClass >= FIRST_NUMERIC_CLASS && arrayClass <= LAST_NUMERIC_CLASS && !(word & COMPLEX_FLAG)
  if (!isNumeric && arrayClass !== STRUCTURE_CLASS) return
  const extents = elementAt(view, flags.next, little)
  const name = elementAt(view, extents.next, little)
  const dimensions: number[] = []
  for (let i = 0; i + 4 <= extents.data.byteLength; i += 4) dimensions.push(extents.data.getInt32(i, little))
  const count = dimensions.reduce((product, extent) => product * extent, 1)
  const path = prefix + latin(name.data)
  if (!isNumeric) {
    // Structures of several elements are databases, not recordings.
    if (count === 1) addFields(view, name.next, little, `${path}.`, arrays)
    return
  }
  const values = valuesOf(elementAt(view, name.next, little), count, little)
  const [rows = 0] = dimensions
  arrays.set(path, { rows, columns: rows > 0 ? count / rows : 0, values })
}

/** Section "Structure": the length of a field name, all names in as many bytes each, an array for each field. */
function addFields(view: DataView, at: number, little: boolean, prefix: string, arrays: Map<string, MatArray>): void {
  const lengths = elementAt(view, at, little)
  const names = elementAt(view, lengths.next, little)
  const length = lengths.data.byteLength >= 4 ? lengths.data.getInt32(0, little) : 0
  if (length <= 0) throw invalid('a structure has no names of fields')
  let next = names.next
  for (let i = 0; (i + 1) * length <= names.data.byteLength; i++) {
    const field = elementAt(view, next, little)
    next = field.next
    const [name = ''] = latin(part(names.data, i * length, length)).split('\0')
    // The name of the field stands in the structure, the array in it has none.
    if (field.type === MATRIX) addArrays(field.data, little, prefix + name, arrays)
  }
}

function valuesOf({ type, data }: Element, count: number, little: boolean): Float64Array {
  const format = numbers[type]
  if (!format) throw invalid(`values of type ${type} are not supported`)
  if (count * format.bytes !== data.byteLength) throw invalid('an array has not as many values as its dimensions say')
  const values = new Float64Array(count)
  for (let i = 0; i < count; i++) values[i] = format.read(data, i * format.bytes, little)
  return values
}

const latin = (data: DataView): string => new TextDecoder('latin1').decode(data)

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
