import protobuf from 'protobufjs'

const schema = protobuf.loadSync(`${import.meta.dirname}/onnx.proto`).resolveAll()
export const ModelProto = schema.lookupType('onnx.ModelProto')
export const TensorProto = schema.lookupType('onnx.TensorProto')

/** What is looked at of an ONNX file; fields a file leaves out are absent. */
export interface OnnxModel {
  producerName?: string
  producerVersion?: string
  opsetImport?: { domain?: string; version?: number }[]
  graph?: { node?: { opType: string }[]; initializer?: OnnxTensor[] }
}

export interface OnnxTensor {
  name?: string
  /** 1: the values lie in another file. */
  dataLocation?: number
  /** `location`, `offset` and `length`, as text. */
  externalData?: { key: string; value: string }[]
}

/** Throws where the bytes are no protocol buffer of this kind. */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  return ModelProto.toObject(ModelProto.decode(bytes), { longs: Number }) as OnnxModel
}
