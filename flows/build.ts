import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { toFaultlineError } from '@faultline/protocol'
import { version } from '@faultline/runtime'
import { build } from 'esbuild'
import { buildPages } from './build-pages.ts'
import { pagesWidget } from './pages-widget.ts'

const sources = fileURLToPath(new URL('.', import.meta.url))

/** The name under which Node-RED lists the nodes. */
export const nodesPackage = pagesWidget.package

const types = [
  'faultline-broker',
  'faultline-store',
  'faultline-events',
  'faultline-alarm',
  'faultline-fleet',
  'faultline-command',
  'faultline-query',
  'faultline-escalate',
  'faultline-machine',
  'faultline-alarms',
  'faultline-decisions',
  'faultline-devices',
  'ui-faultline',
] as const

/** As the editor lists it among the examples. */
const shippedFlowName = '1 - Watch the fleet and raise its alarms.json'

/**
 * Writes the nodes as a package that Node-RED can load from anywhere: one script with everything bundled (the directory
 * need not lie near our `node_modules`), the editor's part, the pages of the dashboard, and the flow as an example. Throws
 * `FLOWS_FAILED`.
 */
export async function buildNodes(directory: string): Promise<void> {
  try {
    await mkdir(join(directory, 'resources'), { recursive: true })
    await Promise.all([
      bundle(join(directory, 'faultline.js')),
      writeFile(join(directory, 'faultline.html'), await editorPart()),
      buildPages(join(directory, 'resources', pagesWidget.file)),
      ...['icons', 'locales', 'examples'].map(part =>
        cp(join(sources, part), join(directory, part), { recursive: true }),
      ),
      writeFile(join(directory, 'README.md'), await read('nodes/README.md')),
      writeFile(join(directory, 'LICENSE'), await read('../LICENSE')),
      writeFile(join(directory, 'package.json'), JSON.stringify(description, null, 2)),
    ])
  } catch (error) {
    throw toFaultlineError(error, 'FLOWS_FAILED', 'building the nodes')
  }
}

const run = promisify(execFile)

/** Writes the nodes as the file that `npm install` takes, into a directory. Gives its path. Throws `FLOWS_FAILED`. */
export async function packNodes(destination: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'faultline-nodes-'))
  try {
    await buildNodes(directory)
    await mkdir(destination, { recursive: true })
    const { stdout } = await run('npm', ['pack', '--json', '--pack-destination', resolve(destination)], {
      cwd: directory,
    })
    const [packed] = JSON.parse(stdout) as { filename: string }[]
    return join(destination, packed!.filename)
  } catch (error) {
    throw toFaultlineError(error, 'FLOWS_FAILED', 'packing the nodes')
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** The flow that comes with the product, as Node-RED reads it. */
export const shippedFlow = (): Promise<string> => read(`examples/${shippedFlowName}`)

const description = {
  name: nodesPackage,
  version,
  description:
    'Nodes for machine-fault detection over MQTT: events, alarms after ISA-18.2, commands, telemetry, escalations',
  license: 'MIT',
  keywords: ['node-red', 'faultline', 'mqtt', 'condition monitoring', 'vibration', 'alarm', 'predictive maintenance'],
  engines: { node: '>=22.9' },
  'node-red': { version: '>=4.0.0', nodes: { faultline: 'faultline.js' } },
  'node-red-dashboard-2': {
    version: '>=1.31.0',
    widgets: { [pagesWidget.type]: { output: pagesWidget.file, component: pagesWidget.component } },
  },
}

async function bundle(outfile: string): Promise<void> {
  await build({
    entryPoints: [join(sources, 'nodes', 'faultline.ts')],
    outfile,
    bundle: true,
    format: 'cjs',
    platform: 'node',
    target: 'node22',
    // A CommonJS module has no `import.meta`; some of what is bundled finds its neighbours by it.
    define: { 'import.meta.url': 'moduleUrl' },
    banner: { js: "const moduleUrl = require('node:url').pathToFileURL(__filename).href" },
    // Optional native accelerators of ws and cbor-x: each is tried and done without. The engines of models stand in modules that
    // no node uses, and are dropped with them.
    external: ['bufferutil', 'utf-8-validate', 'cbor-extract', 'onnxruntime-node', '@tensorflow/*', 'sharp'],
    logLevel: 'silent',
  })
}

async function editorPart(): Promise<string> {
  const parts = await Promise.all(types.map(type => read(`nodes/${type.replace(/^faultline-/, '')}.html`)))
  return parts.join('\n')
}

const read = (path: string): Promise<string> => readFile(join(sources, path), 'utf8')
