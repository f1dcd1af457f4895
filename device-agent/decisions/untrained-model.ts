import { createHash } from 'node:crypto'
import type { LocalModel } from './assessment.ts'

/** In place of a local model on a device whose points are commissioned: it has no answers, so commissioning gives them all. */
export class UntrainedModel implements LocalModel {
  readonly trained = false
  readonly engine = 'none'
  readonly task: string
  readonly classes = ['normal', 'not-normal']
  readonly bundle = { description: { normal: 'normal', calibration: { threshold: 0.5 } } }
  readonly model = {
    name: 'none',
    version: '1.0.0',
    digest: `sha256:${createHash('sha256').update('no model').digest('hex')}`,
  }

  /** @param task What servers are asked to decide. */
  constructor(task: string) {
    this.task = task
  }

  async classify(): ReturnType<LocalModel['classify']> {
    return []
  }
}
