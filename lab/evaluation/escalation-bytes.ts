import { encodePayload, encodeWindow } from '@faultline/protocol'

export interface SentWindow {
  shape: readonly number[]
  /** 0 for an image. */
  rateHz: number
  /** Where the point knows it. */
  shaftHz?: number
}

/** Bytes of an escalation as an agent sends it; they depend on the window's size, not on what is in it. */
export function bytesOfEscalation(
  task: string,
  classes: readonly string[],
  { shape, rateHz, shaftHz }: SentWindow,
): number {
  const size = shape.reduce((product, extent) => product * extent, 1)
  const samples = Float32Array.from({ length: size }, (_, i) => (rateHz === 0 ? i % 256 : Math.sin(i)))
  const at = new Date(0).toISOString()
  // As long in CBOR as any that are no whole numbers.
  const probabilities = classes.map((_, i) => (i + 0.5) / 1000)
  return encodePayload('escalation', {
    v: 1,
    id: '00000000-0000-4000-8000-000000000000',
    at,
    machine: 'machine-1',
    reason: 'below-threshold',
    deadline: at,
    task,
    local: { label: classes[1]!, confidence: 0.4, probabilities, digest: `sha256:${'0'.repeat(64)}` },
    window: encodeWindow({ samples, shape, rateHz }),
    ...(shaftHz !== undefined && { shaftHz }),
  }).byteLength
}
