import { halves } from './half-precision.ts'
import { ModelProto } from './schema.ts'

/** Operator set and file version the graphs are written for; onnxruntime has read both since 1.12 (2022). */
const OPSET = 17
const IR_VERSION = 8

/** Codes of `TensorProto.DataType` and `AttributeProto.AttributeType`. */
const FLOAT = 1
const INT64 = 7
const FLOAT16 = 10
const attributeTypes = { f: 1, i: 2, ints: 7 } as const

export type Attribute = { f: number } | { i: number } | { ints: readonly number[] }

/** An ONNX graph under construction, from one float input to one float output. Values are known by their names. */
export class Graph {
  readonly #half: boolean
  #nodes: object[] = []
  #initializers: object[] = []

  /** @param half Keep float constants in half precision: half the bytes, and one cast when the model is loaded. */
  constructor({ half = false }: { half?: boolean } = {}) {
    this.#half = half
  }

  /** Adds an operator and gives the name of its output back. */
  add(operator: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string {
    const name = `${operator.toLowerCase()}_${this.#nodes.length}`
    this.#addNode(operator, name, inputs, attributes)
    return name
  }

  /** Adds a float constant and gives its name back. */
  floats(dims: readonly number[], values: Float32Array): string {
    // A scalar is smaller than the cast it would need.
    if (this.#half && dims.length > 0) {
      const stored = this.#constant(dims, FLOAT16, new Uint8Array(halves(values).buffer))
      return this.add('Cast', [stored], { to: { i: FLOAT } })
    }
    return this.#constant(dims, FLOAT, Buffer.from(values.buffer, values.byteOffset, values.byteLength))
  }

  /** Adds a float constant without dimensions and gives its name back. */
  scalar(value: number): string {
    return this.floats([], Float32Array.of(value))
  }

  /** Adds an int64 vector and gives its name back. */
  ints(values: readonly number[]): string {
    const bytes = Buffer.alloc(values.length * 8)
    for (const [i, value] of values.entries()) bytes.writeBigInt64LE(BigInt(value), i * 8)
    return this.#constant([values.length], INT64, bytes)
  }

  /** Finishes the model: `result` becomes its output. Shapes come without the batch, which stays free. */
  encode(
    name: string,
    input: { name: string; shape: readonly number[] },
    result: { name: string; shape: readonly number[] },
  ): Uint8Array {
    const output = 'output'
    this.#addNode('Identity', output, [result.name])
    const message = ModelProto.fromObject({
      irVersion: IR_VERSION,
      producerName: 'faultline',
      opsetImport: [{ domain: '', version: OPSET }],
      graph: {
        name,
        node: this.#nodes,
        initializer: this.#initializers,
        input: [valueInfo(input.name, input.shape)],
        output: [valueInfo(output, result.shape)],
      },
    })
    return ModelProto.encode(message).finish()
  }

  #addNode(
    operator: string,
    name: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute> = {},
  ): void {
    this.#nodes.push({
      name,
      opType: operator,
      input: inputs,
      output: [name],
      attribute: Object.entries(attributes).map(([key, value]) => ({
        name: key,
        ...value,
        type: attributeTypes[Object.keys(value)[0] as keyof typeof attributeTypes],
      })),
    })
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
