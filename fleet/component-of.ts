import { FaultlineError } from '@faultline/protocol'
import { checkConfig, readEntries } from '@faultline/runtime'
import { type Component, components } from './reference/components.ts'

/**
 * The program that a configuration file is for: the one named, or the one whose entries it has. Throws `CONFIG_INVALID` where
 * the entries fit none, or several.
 */
export async function componentOf(file: string, script?: string): Promise<Component> {
  if (script !== undefined) return components.find(component => component.script === script)!
  const entries = await readEntries(file)
  const fitting = components.filter(({ schema }) => fits(schema, structuredClone(entries)))
  if (fitting.length === 1) return fitting[0]!
  const found =
    fitting.length === 0 ? 'no program starts' : `${fitting.map(({ script: name }) => name).join(' and ')} start`
  throw new FaultlineError(
    'CONFIG_INVALID',
    `${file}: ${found} from these entries; name the program with --component to see what is wrong`,
  )
}

function fits(schema: Component['schema'], entries: Record<string, unknown>): boolean {
  try {
    checkConfig(schema, entries, 'file', () => {})
    return true
  } catch {
    return false
  }
}
