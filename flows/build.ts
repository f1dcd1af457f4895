import { execFile } from 'node:child_process'
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { toFaultlineError } from '@faultline/protocol'
import { version } from '@faultline/runtime'
import { build, transform } from 'esbuild'

const sources = fileURLToPath(new URL('.', import.meta.url))

/** The name under which Node-RED lists the nodes. */
export const nodesPackage = 'node-red-contrib-faultline'

const types = [
  'broker',
  'store',
  'events',
  'alarm',
  'fleet',
  'command',
  'query',
  'escalate',
  'machine',
  'alarms',
  'decisions',
  'devices',
] as const

/** As the editor lists it among the examples. */
const shippedFlowName = '1 - Watch the fleet and raise its alarms.json'

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
      cp(join(sources, 'examples'), join(directory, 'examples'), { recursive: true }).then(async () =>
        writeFile(join(directory, 'examples', shippedFlowName), await shippedFlow()),
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

/**
 * The flow that comes with the product, as Node-RED reads it. In the repository the dashboard's pages stand in files of
 * their own, to which the flow refers by name.
 */
export async function shippedFlow(): Promise<string> {
  const nodes = JSON.parse(await read(`examples/${shippedFlowName}`)) as { format?: string }[]
  for (const node of nodes) if (node.format?.startsWith('file:')) node.format = await pageOf(node.format.slice(5))
  return `${JSON.stringify(nodes, null, 2)}\n`
}

const place = / *<shared-(\w+) \/>/

/** A page with what it shares with others put in its places: each is a template that can import nothing. */
async function pageOf(path: string): Promise<string> {
  let page = await read(path)
  // What is shared may have parts that are shared, too.
  for (let found = place.exec(page); found; found = place.exec(page)) {
    const part = await read(`dashboard/shared-${found[1]}.vue`)
    page = page.replace(found[0], () => /^<template>\n([\s\S]*)<\/template>/.exec(part)![1]!.trimEnd())
  }
  if (!page.includes('...shared,')) return page
  const methods = await sharedMethods()
  return page.replace(/^ *\.\.\.shared,$/m, () => methods)
}

/** What stands between the braces of `page-methods.ts`, without types. */
async function sharedMethods(): Promise<string> {
  const { code } = await transform(await read('dashboard/page-methods.ts'), { loader: 'ts', target: 'es2022' })
  const [, methods] = /^export default \{\n([\s\S]*?)\n\};/m.exec(code)!
  return `${methods},`
}

const description = {
  name: nodesPackage,
  version,
  description:
    'Nodes for machine-fault detection over MQTT: events, alarms after ISA-18.2, commands, telemetry, escalations',
  license: 'MIT',
  keywords: ['node-red', 'faultline', 'mqtt', 'condition monitoring', 'vibration', 'alarm', 'predictive maintenance'],
  engines: { node: '>=22.9' },
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
