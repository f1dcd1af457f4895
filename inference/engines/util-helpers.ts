import util from 'node:util'

/**
 * Helpers of `node:util` that @tensorflow/tfjs-node 4.22 still calls. Node 22 deprecates them, Node 23 and later lack some: without
 * them the backend loads and then fails in the middle of a run.
 */
const helpers: Record<string, (value: unknown) => boolean> = {
  isArray: Array.isArray,
  isNullOrUndefined: value => value === null || value === undefined,
}

/** Gives `node:util` those that this Node lacks. The module is one object for the whole process; what is there stays. */
export function defineUtilHelpers(): void {
  const target = util as unknown as Record<string, unknown>
  for (const [name, helper] of Object.entries(helpers)) target[name] ??= helper
}
