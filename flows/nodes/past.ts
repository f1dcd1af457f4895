import { toFaultlineError } from '@faultline/protocol'
import type { Look } from '../dashboard/look.ts'

/** A view that knows what it heard, and can be told what was before. */
interface Rememberer<Past> {
  /** Whether a store could say more of what is named by the key than the view knows. */
  lacksPast(key: string): boolean
  remember(key: string, past: Past | { problem: string }): void
}

/** For a page's node: has a view learn the past of what somebody opens, each once at a time. Resolves with true when it has. */
export function learnPast<Past>(view: Rememberer<Past>, read: (key: string) => Promise<Past>) {
  const asking = new Set<string>()
  return async ({ open: key }: Look): Promise<boolean> => {
    if (asking.has(key) || !view.lacksPast(key)) return false
    asking.add(key)
    try {
      view.remember(key, await read(key))
    } catch (thrown) {
      view.remember(key, { problem: toFaultlineError(thrown).message })
    } finally {
      asking.delete(key)
    }
    return true
  }
}
