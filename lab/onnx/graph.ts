import protobuf from 'protobufjs'

/** Operator set and file version the graphs are written for; onnxruntime has read both since 1.12 (2022). */
const OPSET = 17
const IR_VERSION = 8

/** Codes of `TensorProto.DataType` and `AttributeProto.AttributeType`. */
const FLOAT = 1
const INT64 = 7
const attributeTypes = { f: 1, i: 2, ints: 7 } as const

type Attribute = { f: number } | { i: number } | { ints: readonly number[] }

const schema = protobuf.loadSync(`${import.meta.dirname}/onnx.proto`).resolveAll()
const ModelProto = schema.lookupType('onnx.ModelProto')

/** An ONNX graph under construction: a chain of nodes from one float input to one float output. */
export class Graph {
  #nodes: object[] = []
  #initializers: object[] = []
  #current: string

  constructor(input: string) {
    this.#current = input
  }

  /** Appends an operator that takes the chain's current value first, then the given constants. */
  append(operator: string, constants: readonly string[] = [], attributes: Record<string, Attribute> = {}): void {
    const name = `${operator.toLowerCase()}_${this.#nodes.length}`
    this.#nodes.push({
      name,
      opType: operator,
      input: [this.#current, ...constants],
      output: [name],
      attribute: Object.entries(attributes).map(([key, value]) => ({
        name: key,
        ...value,
        type: attributeTypes[Object.keys(value)[0] as keyof typeof attributeTypes],
      })),
    })
    this.#current = name
  }

  /** Adds a float constant and gives its name back. */
  floats(dims: readonly number[], values: Float32Array): string {
    return this.#constant(dims, FLOAT, Buffer.from(values.buffer, values.byteOffset, values.byteLength))
  }

  /** Adds an int64 vector and gives its name back. */
  ints(values: readonly number[]): string {
    const bytes = Buffer.alloc(values.length * 8)
    for (const [i, value] of values.entries()) bytes.writeBigInt64LE(BigInt(value), i * 8)
    return this.#constant([values.length], INT64, bytes)
  }

  /** Finishes the model. Shapes come without the batch, which stays free. */
  encode(name: string, input: { name: string; shape: readonly number[] }, outputShape: readonly number[]): Uint8Array {
    const output = 'output'
    this.append('Identity')
    Object.assign(this.#nodes.at(-1)!, { output: [output] })
    const message = ModelProto.fromObject({
      irVersion: IR_VERSION,
      producerName: 'faultline',
      opsetImport: [{ domain: '', version: OPSET }],
      graph: {
        name,
        node: this.#nodes,
        initializer: this.#initializers,
        input: [valueInfo(input.name, input.shape)],
        output: [valueInfo(output, outputShape)],
      },
    })
    return ModelProto.encode(message).finish()
  }

  #constant(dims: readonly number[], dataType: number, rawData: Uint8Array): string {
    const name = `constant_${this.#initializers.length}`
    this.#initializers.push({ name, dims, dataType, rawData })
    return name
  }
}

function valueInfo(name: string, shape: readonly number[]): object {
  const dim = [{ dimParam: 'batch' }, ...shape.map(dimValue => ({ dimValue }))]
  return { name, type: { tensorType: { elemType: FLOAT, shape: { dim } } } }
}
