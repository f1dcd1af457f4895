import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { contractPages } from '@faultline/protocol'
import { createProgram, runProgram, version } from '@faultline/runtime'
import { configurationPage } from './reference/configuration-page.ts'
import { telemetryPage } from './reference/telemetry-page.ts'

interface Flags {
  check?: boolean
  output: string
}

const program = createProgram('npm run docs --', 'Writes the reference pages that follow from the software.')
  .version(version)
  .option('--check', 'write nothing; exit with 1 and name every page that is out of date')
  .option('--output <dir>', 'where the pages are', join('docs', 'reference'))
  .allowExcessArguments(false)
  .action(run)

function run({ check, output }: Flags): void {
  const directory = resolve(output)
  const pages = { ...contractPages(), 'configuration.md': configurationPage(), 'telemetry.md': telemetryPage() }
  const stale = Object.entries(pages).filter(([name, text]) => readOrEmpty(join(directory, name)) !== text)
  if (check) {
    for (const [name] of stale) process.stderr.write(`${name} is out of date: run \`npm run docs\`\n`)
    process.exitCode = stale.length > 0 ? 1 : 0
    return
  }
  mkdirSync(directory, { recursive: true })
  for (const [name, text] of stale) {
    writeFileSync(join(directory, name), text)
    process.stdout.write(`wrote ${name}\n`)
  }
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

await runProgram(program)
