import { readFile } from 'node:fs/promises'
import { FaultlineError, type Identity, identityOf, toFaultlineError } from '@faultline/protocol'
import { CsvError, parse } from 'csv-parse/sync'

/** So many of the lines that are wrong are told in one go. */
const maximumTold = 20

interface Line {
  record: Record<string, string>
  info: { lines: number }
}

/**
 * The devices a CSV file (RFC 4180) names in its columns `site` and `device`. Throws `CONFIG_UNREADABLE`, or
 * `CSV_INVALID` with every line that is wrong: a name that is none, is in the file twice, or is enrolled already.
 */
export async function readDeviceList(file: string, isEnrolled: (name: string) => boolean): Promise<Identity[]> {
  const lines = parseLines(file, await read(file))
  const found = new Map<string, number>()
  const wrong: string[] = []
  const identities = lines.flatMap(({ record, info }) => {
    try {
      const identity = identityOf('device', record.site ?? '', record.device ?? '')
      const before = found.get(identity.name)
      found.set(identity.name, info.lines)
      if (before !== undefined) throw new Error(`${identity.name} is on line ${before} already`)
      if (isEnrolled(identity.name)) throw new Error(`${identity.name} is enrolled already`)
      return [identity]
    } catch (thrown) {
      wrong.push(`line ${info.lines}: ${(thrown as Error).message}`)
      return []
    }
  })
  if (wrong.length > 0) {
    const more = wrong.length > maximumTold ? `; and ${wrong.length - maximumTold} more` : ''
    throw invalid(file, `${wrong.slice(0, maximumTold).join('; ')}${more}. Nothing was enrolled`)
  }
  if (identities.length === 0) throw invalid(file, 'no devices')
  return identities
}

async function read(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw toFaultlineError(cause, 'CONFIG_UNREADABLE')
  }
}

function parseLines(file: string, text: string): Line[] {
  const columns = (names: string[]): string[] => {
    if (names.length === 2 && names.includes('site') && names.includes('device')) return names
    throw invalid(file, 'line 1: the columns must be site and device')
  }
  try {
    return parse(text, { bom: true, trim: true, skip_empty_lines: true, info: true, columns }) as unknown as Line[]
  } catch (thrown) {
    if (!(thrown instanceof CsvError)) throw thrown
    const at = typeof thrown.lines === 'number' ? `line ${thrown.lines}: ` : ''
    throw invalid(file, `${at}${thrown.message}. Nothing was enrolled`)
  }
}

const invalid = (file: string, message: string): FaultlineError =>
  new FaultlineError('CSV_INVALID', `${file}: ${message}`)
