import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import { asyncApiDocument } from './asyncapi.ts'
import { errorsPage, payloadsPage, topicsPage } from './reference.ts'

const usage = `Usage: npm run docs -- [--check] [--output DIRECTORY]

Writes the reference pages that follow from protocol/: topics.md, payloads.md, errors.md, asyncapi.yaml.

  --check             write nothing; exit with 1 and name every page that is out of date
  --output DIRECTORY  where the pages are (default: docs/reference)
  --help              show this`

function render(): Record<string, string> {
  return {
    'topics.md': topicsPage(),
    'payloads.md': payloadsPage(),
    'errors.md': errorsPage(),
    'asyncapi.yaml': stringify(asyncApiDocument(), { lineWidth: 0, aliasDuplicateObjects: false }),
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function main(): number {
  const { values } = parseArgs({
    options: { check: { type: 'boolean' }, output: { type: 'string' }, help: { type: 'boolean' } },
  })
  if (values.help) {
    console.log(usage)
    return 0
  }
  const directory = resolve(values.output ?? join(import.meta.dirname, '..', 'docs', 'reference'))
  const stale = Object.entries(render()).filter(([name, text]) => readOrEmpty(join(directory, name)) !== text)
  if (values.check) {
    for (const [name] of stale) console.error(`${name} is out of date: run \`npm run docs\``)
    return stale.length > 0 ? 1 : 0
  }
  for (const [name, text] of stale) {
    const path = join(directory, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
    console.log(`wrote ${name}`)
  }
  return 0
}

try {
  process.exitCode = main()
} catch (error) {
  console.error(`error: ${(error as Error).message} (--help lists the options)`)
  process.exitCode = 2
}
