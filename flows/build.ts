import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { toFaultlineError } from '@faultline/protocol'
import { version } from '@faultline/runtime'
import { build } from 'esbuild'

const sources = fileURLToPath(new URL('.', import.meta.url))

/** The name under which Node-RED lists the nodes. */
export const nodesPackage = 'node-red-contrib-faultline'

const types = ['broker', 'events', 'alarm', 'fleet', 'machine'] as const

/**
 * Writes the nodes as a package that Node-RED can load from anywhere: one script with everything bundled (the directory
 * need not lie near our `node_modules`), the editor's part, and the flow as an example. Throws `FLOWS_FAILED`.
 */
export async function buildNodes(directory: string): Promise<void> {
  try {
    await mkdir(join(directory, 'examples'), { recursive: true })
    await Promise.all([
      bundle(join(directory, 'faultline.js')),
      writeFile(join(directory, 'faultline.html'), await editorPart()),
      ...['icons', 'locales'].map(part => cp(join(sources, part), join(directory, part), { recursive: true })),
      writeFile(join(directory, 'examples', 'faultline.json'), await shippedFlow()),
      writeFile(join(directory, 'package.json'), JSON.stringify(description, null, 2)),
    ])
  } catch (error) {
    throw toFaultlineError(error, 'FLOWS_FAILED', 'building the nodes')
  }
}

/**
 * The flow that comes with the product, as Node-RED reads it. In the repository the dashboard's page stands in a file of
 * its own, to which the flow refers by name.
 */
export async function shippedFlow(): Promise<string> {
  const nodes = JSON.parse(await read('examples/faultline.json')) as { format?: string }[]
  for (const node of nodes) if (node.format?.startsWith('file:')) node.format = await read(node.format.slice(5))
  return `${JSON.stringify(nodes, null, 2)}\n`
}

const description = {
  name: nodesPackage,
  version,
  license: 'MIT',
  'node-red': { version: '>=4.0.0', nodes: { faultline: 'faultline.js' } },
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
  const parts = await Promise.all(types.map(type => read(`nodes/${type}.html`)))
  return parts.join('\n')
}

const read = (path: string): Promise<string> => readFile(join(sources, path), 'utf8')
