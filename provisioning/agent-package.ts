import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createReadStream, createWriteStream } from 'node:fs'
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { createGzip } from 'node:zlib'
import { bundleSignature, FaultlineError, toFaultlineError } from '@faultline/protocol'
import { version } from '@faultline/runtime'
import { type Pack, pack } from 'tar-stream'

/** Processors that an agent is packed for. */
export const agentArchitectures = ['arm64', 'x64'] as const
export type AgentArchitecture = (typeof agentArchitectures)[number]

export const agentPackageName = (architecture: AgentArchitecture): string =>
  `faultline-agent-${version}-linux-${architecture}`

const repository = fileURLToPath(new URL('..', import.meta.url))

/** Programs of the package, and where each begins. */
const entryPoints = {
  agent: 'device-agent/main.ts',
  trial: 'inference/engines/trial.ts',
  'faultline-device': 'device-agent/field/main.ts',
}

/** Packages with native parts, which no bundle can hold; a Pi has no TensorFlow library. */
const notBundled = ['onnxruntime-node', 'sharp', '@tensorflow/tfjs-node', 'cbor-extract']

/** CommonJS modules inside of an ES module miss these. */
const commonJs = [
  `import{createRequire as __createRequire}from'node:module'`,
  'const require=__createRequire(import.meta.url),__filename=import.meta.filename,__dirname=import.meta.dirname',
].join(';')

/**
 * Writes everything a device agent needs to run on a 64-bit Linux as a tar.gz of one directory: its programs bundled with
 * their dependencies, the native ones of that processor, Node.js, the local models, unit file and installer. The target needs
 * neither npm nor a network. Fetches what this machine's own installation lacks from the npm registry.
 * Throws `OUTPUT_UNWRITABLE` and `PACKAGE_FAILED`.
 * @param privateKey Signs the local models in it: an agent with trusted keys starts with no other.
 */
export async function writeAgentPackage(
  file: string,
  architecture: AgentArchitecture,
  privateKey?: string,
): Promise<void> {
  const output = createWriteStream(file, { flags: 'wx' })
  await once(output, 'open').catch(cause => {
    throw toFaultlineError(cause, 'OUTPUT_UNWRITABLE')
  })
  const work = await mkdtemp(join(tmpdir(), 'faultline-agent-'))
  try {
    const directory = join(work, agentPackageName(architecture))
    await writeAgentPrograms(directory)
    if (privateKey !== undefined) await signModels(join(directory, 'models'), privateKey)
    await addNativePackages(directory, architecture, join(work, 'npm'))
    await archive(work, agentPackageName(architecture), output)
  } catch (thrown) {
    output.destroy()
    await rm(file, { force: true })
    throw toFaultlineError(thrown, 'PACKAGE_FAILED')
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/**
 * Writes what an agent package holds beside Node.js and the native packages: its programs, unit file, installer and the
 * local models. `more` are programs to be bundled like them, by name.
 */
export async function writeAgentPrograms(directory: string, more: Record<string, string> = {}): Promise<void> {
  await mkdir(directory, { recursive: true })
  // Here, since whoever uses the registry alone has no need of a bundler.
  const { build } = await import('esbuild')
  await build({
    absWorkingDir: repository,
    entryPoints: { ...entryPoints, ...more },
    outdir: directory,
    bundle: true,
    // Each program in one file: what esbuild splits off loses the named exports of CommonJS modules. Modules that are
    // imported on demand are still run on demand only.
    splitting: false,
    format: 'esm',
    platform: 'node',
    target: 'node22',
    external: notBundled,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'eof',
    banner: { js: commonJs },
    logLevel: 'silent',
  })
  await addOwnFiles(directory)
}

async function addNativePackages(directory: string, architecture: AgentArchitecture, scratch: string): Promise<void> {
  const installed = join(repository, 'node_modules')
  const modules = join(directory, 'node_modules')
  // Comes with the libraries of all platforms; its other dependencies serve its install script only.
  const library = join('bin', 'napi-v6', 'linux', architecture)
  for (const part of ['package.json', 'README.md', 'dist', library])
    await copy(join(installed, 'onnxruntime-node', part), join(modules, 'onnxruntime-node', part))
  await copy(join(installed, 'onnxruntime-common'), join(modules, 'onnxruntime-common'))
  const wasm = join('@tensorflow', 'tfjs-backend-wasm')
  const binaries = (await readdir(join(installed, wasm, 'dist'))).filter(name => name.endsWith('.wasm'))
  for (const part of ['package.json', ...binaries.map(name => join('dist', name))])
    await copy(join(installed, wasm, part), join(modules, wasm, part))

  const node = `node-linux-${architecture}`
  const wanted = { sharp: await versionOf('sharp'), [node]: await versionOf('node') }
  await mkdir(scratch)
  // Only of optional ones does npm believe that they are for another processor than its own.
  await writeFile(join(scratch, 'package.json'), JSON.stringify({ private: true, optionalDependencies: wanted }))
  const platform = ['--os=linux', `--cpu=${architecture}`, '--libc=glibc']
  await npm(['install', '--ignore-scripts', '--no-audit', '--no-fund', '--no-package-lock', ...platform], scratch)
  await copy(join(scratch, 'node_modules', node, 'bin', 'node'), join(directory, 'bin', 'node'))
  await copy(join(scratch, 'node_modules', node, 'LICENSE'), join(directory, 'bin', 'LICENSE'))
  await rm(join(scratch, 'node_modules', node), { recursive: true })
  await rm(join(scratch, 'node_modules', '.bin'), { recursive: true, force: true })
  await copy(join(scratch, 'node_modules'), modules)
}

async function addOwnFiles(directory: string): Promise<void> {
  const description = { name: 'faultline-agent', version, type: 'module', license: 'MIT', private: true }
  await writeFile(join(directory, 'package.json'), `${JSON.stringify(description, null, 2)}\n`)
  const shown = ['html', 'css', 'js'].map(kind => [`device-agent/status-page/page.${kind}`, `page.${kind}`])
  const models = (await readdir(join(repository, 'models'))).filter(name => name.endsWith('-local'))
  const files = [
    ...shown,
    ...models.map(name => [`models/${name}`, `models/${name}`]),
    ['provisioning/installer/install.sh', 'install.sh'],
    ['provisioning/installer/launch.sh', 'launch.sh'],
    ['provisioning/installer/faultline-device-agent.service', 'faultline-device-agent.service'],
    ['LICENSE', 'LICENSE'],
  ] as [from: string, to: string][]
  for (const [from, to] of files) await copy(join(repository, from), join(directory, to))
}

async function signModels(models: string, privateKey: string): Promise<void> {
  for (const name of await readdir(models)) {
    const digest = createHash('sha256').update(await readFile(join(models, name, 'bundle.json')))
    const { text } = bundleSignature(`sha256:${digest.digest('hex')}`, privateKey)
    await writeFile(join(models, name, 'bundle.sig'), text)
  }
}

async function copy(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  await cp(from, to, { recursive: true, dereference: true })
}

/** Of a package as it is installed here, which is what the lock file says. */
async function versionOf(name: string): Promise<string> {
  const description = await readFile(join(repository, 'node_modules', name, 'package.json'), 'utf8')
  return (JSON.parse(description) as { version: string }).version
}

async function npm(args: string[], cwd: string): Promise<void> {
  const child = spawn('npm', args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] })
  let complaint = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaint += text
  })
  const [code] = await once(child, 'close')
  if (code === 0) return
  const line =
    complaint.split('\n').find(text => /npm error (?!code |errno |syscall )/.test(text)) ?? `it ended with ${code}`
  throw new FaultlineError('PACKAGE_FAILED', `npm ${args[0]}: ${line}`)
}

async function archive(work: string, name: string, output: Writable): Promise<void> {
  const tar = pack()
  await Promise.all([pipeline(tar, createGzip(), output), addTree(tar, work, name).then(() => tar.finalize())])
}

/** Everything belongs to root and can be read by all; what could be run here can be run there. */
async function addTree(tar: Pack, work: string, name: string): Promise<void> {
  tar.entry({ name: `${name}/`, type: 'directory', mode: 0o755 })
  for (const entry of await readdir(join(work, name), { withFileTypes: true })) {
    const inside = `${name}/${entry.name}`
    if (entry.isDirectory()) {
      await addTree(tar, work, inside)
      continue
    }
    const { size, mode } = await stat(join(work, inside))
    const writing = tar.entry({ name: inside, size, mode: mode & 0o111 ? 0o755 : 0o644 })
    await pipeline(createReadStream(join(work, inside)), writing)
  }
}
