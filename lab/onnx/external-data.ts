import { readFile } from 'node:fs/promises'
import { dirname, join, normalize, sep } from 'node:path'
import { FaultlineError, toFaultlineError } from '@faultline/protocol'
import protobuf from 'protobufjs'
import { type OnnxTensor, TensorProto } from './schema.ts'

/** Field numbers of the ONNX schema. */
const field = { graph: 7, initializer: 5, rawData: 9, externalData: 13, dataLocation: 14 } as const
const LENGTH_DELIMITED = 2

/** One field of a message: its number, and its bytes with and without the tag in front. */
interface Field {
  number: number
  whole: Uint8Array
  content: Uint8Array
}

/**
 * The model with every weight inside. PyTorch puts weights in files beside the model; a bundle holds one file. Works on
 * the encoding, so that what this folder's schema does not know stays as it was.
 * Throws `MODEL_UNREADABLE` where such a file is missing or too short.
 */
export async function withWeightsInside(model: Uint8Array, path: string): Promise<Uint8Array> {
  const files = new Map<string, Promise<Buffer>>()
  const read = (location: string) => {
    const bytes = files.get(location) ?? readBeside(path, location)
    files.set(location, bytes)
    return bytes
  }
  return replaceFields(model, field.graph, graph =>
    replaceFields(graph, field.initializer, tensor => withValuesInside(tensor, read, path)),
  )
}

async function withValuesInside(
  tensor: Uint8Array,
  read: (location: string) => Promise<Buffer>,
  path: string,
): Promise<Uint8Array> {
  const { name, externalData = [] } = TensorProto.toObject(TensorProto.decode(tensor)) as OnnxTensor
  const entry = Object.fromEntries(externalData.map(({ key, value }) => [key, value]))
  if (entry.location === undefined) return tensor
  const bytes = await read(entry.location)
  const offset = Number(entry.offset ?? 0)
  const end = entry.length === undefined ? bytes.length : offset + Number(entry.length)
  if (!(end <= bytes.length))
    throw new FaultlineError('MODEL_UNREADABLE', `${path}: ${entry.location} ends before the weights of "${name}" do`)
  const left: readonly number[] = [field.rawData, field.externalData, field.dataLocation]
  const kept = fieldsOf(tensor).filter(({ number }) => !left.includes(number))
  return Buffer.concat([...kept.map(({ whole }) => whole), encoded(field.rawData, bytes.subarray(offset, end))])
}

async function replaceFields(
  message: Uint8Array,
  number: number,
  replace: (content: Uint8Array) => Promise<Uint8Array>,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for (const each of fieldsOf(message))
    parts.push(each.number === number ? encoded(number, await replace(each.content)) : each.whole)
  return Buffer.concat(parts)
}

function fieldsOf(message: Uint8Array): Field[] {
  const reader = protobuf.Reader.create(message)
  const fields: Field[] = []
  while (reader.pos < reader.len) {
    const start = reader.pos
    const tag = reader.uint32()
    const delimited = (tag & 7) === LENGTH_DELIMITED
    const content = delimited ? reader.bytes() : new Uint8Array()
    if (!delimited) reader.skipType(tag & 7)
    fields.push({ number: tag >>> 3, whole: message.subarray(start, reader.pos), content })
  }
  return fields
}

function encoded(number: number, content: Uint8Array): Uint8Array {
  return protobuf.Writer.create()
    .uint32((number << 3) | LENGTH_DELIMITED)
    .bytes(content)
    .finish()
}

async function readBeside(path: string, location: string): Promise<Buffer> {
  const clean = normalize(location)
  if (clean.startsWith('..') || clean.startsWith(sep))
    throw new FaultlineError('MODEL_UNREADABLE', `${path}: its weights lie in ${location}, outside its directory`)
  try {
    return await readFile(join(dirname(path), clean))
  } catch (cause) {
    throw toFaultlineError(cause, 'MODEL_UNREADABLE', `${path}: its weights lie in another file`)
  }
}
