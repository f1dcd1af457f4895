import type { Classifier } from '@faultline/inference'

/** What the agent asks of a model. `Classifier` is one. */
export interface ServerModel extends Pick<Classifier, 'model' | 'classes' | 'task' | 'prepare' | 'classifyPrepared'> {
  readonly engine: string
}
