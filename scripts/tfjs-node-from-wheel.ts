// Builds the native addon of @tensorflow/tfjs-node against the TensorFlow library inside the `tensorflow-cpu` wheel,
// for places that reach the npm and Python package indexes but not the storage that the package's own install script
// downloads from. Linux x64 only. Run from anywhere: `tsx scripts/tfjs-node-from-wheel.ts`; needs python3 with pip
// and a C++ compiler. `npm ci` removes the result; running this again puts it back in seconds.
import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { join } from 'node:path'

// tfjs-node 4.22 was written against TensorFlow 2.9; tfjs-core's own test suite passes on 2.15.1 (2.21 fails one test).
// The C library does not care which Python runs pip, so the wheel for one fixed Python version serves all of them.
const wheel = {
  version: '2.15.1',
  python: '3.11',
  platform: 'manylinux2014_x86_64',
  sha256: '54660c074d7241a503e81edfd9f5ef5af88f64051b72e2945f26318c790f2d26',
}
const headersVersion = '1.9.0' // node-api-headers: Node-API is ABI stable, so no headers of the running Node are needed
const napiVersion = 8 // the newest that tfjs-node 4.22 lists, and so the folder it looks in on Node 18 and later
const npmFlags = ['--loglevel=error', '--fetch-retries=1'] // not to wait a minute where no registry answers

const root = join(import.meta.dirname, '..')
const tensorflowModules = join(root, 'node_modules', '@tensorflow')
const installed = join(tensorflowModules, 'tfjs-node')
const libraries = ['libtensorflow_cc.so.2', 'libtensorflow_framework.so.2']

// Multiplies through @tensorflow/tfjs, not tfjs-node: only if both share one tfjs-core is the native backend used.
const probe = `
const native = require('@tensorflow/tfjs-node')
const tf = require('@tensorflow/tfjs')
const product = tf.matMul(tf.ones([2, 2]), tf.ones([2, 2])).arraySync()
if (tf.getBackend() !== 'tensorflow') throw new Error('tfjs and tfjs-node do not share one tfjs-core')
if (String(product) !== '2,2,2,2') throw new Error('wrong matrix product ' + product)
const { TF_Version } = native.backend().binding
process.stdout.write(native.version['tfjs-node'] + ' with TensorFlow ' + TF_Version)
`

/** The line of a failed command's output that says most: its last error line, or else its last line. */
function errorLine(output: string): string {
  const lines = output.split('\n').filter(line => line.trim() !== '')
  const errors = lines.filter(line => /^(npm )?error[: ]|error: |^\w*Error\b/i.test(line))
  const vague = /npm error (code|errno|syscall|address|port)/
  return (errors.find(line => !vague.test(line)) ?? lines.at(-1) ?? 'no output').trim()
}

/** Runs a command and returns what it wrote; `failure` opens the one-line error. */
function run(failure: string, command: string, args: string[], cwd = root): string {
  const result = spawnSync(command, args, { cwd, encoding: 'utf8', maxBuffer: 2 ** 26 })
  if (result.error) throw new Error(`${failure}: ${result.error.message}`)
  if (result.status !== 0) throw new Error(`${failure}: ${errorLine(result.stderr || result.stdout)}`)
  return result.stdout
}

/** Loads tfjs-node in a child process, as the `inference` workspace would, and returns its versions. */
function load(): { versions: string } | { reason: string } {
  const env = { ...process.env, TF_CPP_MIN_LOG_LEVEL: '2' }
  const options = { cwd: join(root, 'inference'), encoding: 'utf8', env } as const
  const result = spawnSync(process.execPath, ['-e', probe], options)
  // TensorFlow's builds use AVX without asking, so an old CPU shows as an illegal instruction.
  if (result.signal) return { reason: `stopped by ${result.signal}${result.signal === 'SIGILL' ? ' (no AVX?)' : ''}` }
  return result.status === 0 ? { versions: result.stdout } : { reason: errorLine(result.stderr) }
}

/** The version of @tensorflow/tfjs installed here: tfjs-node must be the same one to share its tfjs-core. */
function tfjsVersion(): string {
  const file = join(tensorflowModules, 'tfjs', 'package.json')
  if (!fs.existsSync(file)) throw new Error('@tensorflow/tfjs is not installed; run npm ci first')
  return (JSON.parse(fs.readFileSync(file, 'utf8')) as { version: string }).version
}

function findCompiler(): string {
  const candidates = [process.env.CXX || 'g++', 'g++', 'c++', 'clang++']
  const found = candidates.find(name => spawnSync(name, ['--version']).status === 0)
  if (found === undefined) throw new Error('no C++ compiler found (Debian: apt-get install g++, or set CXX)')
  return found
}

function checkPip(): void {
  if (spawnSync('python3', ['--version']).status !== 0) {
    throw new Error('no python3 found (Debian: apt-get install python3 python3-pip)')
  }
  if (spawnSync('python3', ['-m', 'pip', '--version']).status !== 0) {
    throw new Error('python3 has no pip (Debian: apt-get install python3-pip)')
  }
}

/** Unpacks tfjs-node with its dependencies, none of their scripts run, and the Node-API headers beside it. */
function fetchPackages(directory: string, version: string): string {
  const specs = [`@tensorflow/tfjs-node@${version}`, `node-api-headers@${headersVersion}`]
  run('npm could not fetch tfjs-node (is a registry reachable?)', 'npm', ['pack', ...npmFlags, ...specs], directory)
  for (const name of ['tensorflow-tfjs-node', 'node-api-headers']) {
    const archive = fs.readdirSync(directory).find(file => file.startsWith(name) && file.endsWith('.tgz'))
    if (archive === undefined) throw new Error(`npm pack left no archive of ${name}`)
    fs.mkdirSync(join(directory, name))
    run(`cannot unpack ${archive}`, 'tar', ['xzf', archive, '--strip-components=1', '-C', name], directory)
  }
  const target = join(directory, 'tensorflow-tfjs-node')
  const file = join(target, 'package.json')
  const original = fs.readFileSync(file, 'utf8')
  const manifest = JSON.parse(original) as { dependencies: Record<string, string>; devDependencies?: object }
  // A tfjs of its own would bring a second tfjs-core, and backends register in one; without it, Node finds the root's.
  delete manifest.dependencies['@tensorflow/tfjs']
  delete manifest.devDependencies
  fs.writeFileSync(file, JSON.stringify(manifest))
  const flags = [...npmFlags, '--ignore-scripts', '--no-package-lock', '--no-workspaces', '--no-audit', '--no-fund']
  run('npm could not install the dependencies of tfjs-node', 'npm', ['install', ...flags], target)
  fs.writeFileSync(file, original)
  return target
}

/** Downloads the wheel and takes only the C library and its headers from it. */
function fetchLibrary(directory: string): string {
  const requirements = join(directory, 'requirements.txt')
  fs.writeFileSync(requirements, `tensorflow-cpu==${wheel.version} --hash=sha256:${wheel.sha256}\n`)
  const target = ['--only-binary=:all:', '--python-version', wheel.python, '--platform', wheel.platform]
  const quiet = ['--quiet', '--disable-pip-version-check', '--retries', '2', '--no-cache-dir']
  const args = ['-m', 'pip', 'download', '--no-deps', ...target, ...quiet, '-r', requirements, '-d', directory]
  run(`pip could not fetch tensorflow-cpu ${wheel.version} (is a package index reachable?)`, 'python3', args)
  const file = fs.readdirSync(directory).find(name => name.endsWith('.whl'))
  if (file === undefined) throw new Error('pip left no wheel')
  const headers = ['tensorflow/c/', 'tensorflow/core/platform/ctstring', 'tsl/c/', 'tsl/platform/ctstring']
  const wanted = [...libraries, ...headers.map(path => `include/${path}`)].map(path => `tensorflow/${path}`)
  const unpack = `import sys, zipfile
z = zipfile.ZipFile(sys.argv[1])
z.extractall(sys.argv[2], [n for n in z.namelist() if n.startswith(tuple(sys.argv[3:]))])`
  run(`cannot unpack ${file}`, 'python3', ['-c', unpack, join(directory, file), directory, ...wanted])
  return join(directory, 'tensorflow')
}

/** Compiles the addon as its binding.gyp would; two files, so node-gyp and make would only add requirements. */
function build(directory: string, tfjsNode: string, library: string, compiler: string): void {
  const lib = join(tfjsNode, 'deps', 'lib')
  const output = join(tfjsNode, 'lib', `napi-v${napiVersion}`)
  for (const path of [lib, output]) fs.mkdirSync(path, { recursive: true })
  for (const name of libraries) fs.renameSync(join(library, name), join(lib, name))
  const includes = [join(directory, 'node-api-headers', 'include'), join(library, 'include')].map(path => `-I${path}`)
  const flags = ['-shared', '-fPIC', '-O2', '-std=c++17', `-DNAPI_VERSION=${napiVersion}`, ...includes]
  const sources = ['tfjs_backend.cc', 'tfjs_binding.cc'].map(name => join(tfjsNode, 'binding', name))
  const links = [...libraries.map(name => join(lib, name)), '-Wl,-rpath,$ORIGIN/../../deps/lib']
  run('the addon does not compile', compiler, [...flags, ...sources, '-o', join(output, 'tfjs_binding.node'), ...links])
}

/** Copies the package into node_modules: npm install would replace a link, and clearing .faultline would break it. */
function place(built: string): void {
  const staged = join(tensorflowModules, '.tfjs-node-from-wheel')
  const lib = join('deps', 'lib')
  fs.rmSync(staged, { recursive: true, force: true })
  fs.cpSync(built, staged, { recursive: true, verbatimSymlinks: true, filter: path => path !== join(built, lib) })
  fs.mkdirSync(join(staged, lib), { recursive: true })
  for (const name of libraries) {
    const [from, to] = [join(built, lib, name), join(staged, lib, name)]
    try {
      fs.linkSync(from, to) // 600 MB: share the disk space where one file system holds both
    } catch {
      fs.copyFileSync(from, to, fs.constants.COPYFILE_FICLONE)
    }
  }
  fs.rmSync(installed, { recursive: true, force: true })
  fs.renameSync(staged, installed)
}

/** Returns the built package, kept under .faultline so that only the first run downloads and compiles. */
function obtain(version: string): string {
  const kept = join(root, '.faultline', 'tfjs-node', `${version}-tensorflow-${wheel.version}`)
  if (fs.existsSync(kept)) return kept
  checkPip()
  const compiler = findCompiler()
  const directory = join(root, '.faultline', 'tfjs-node', 'building')
  fs.rmSync(directory, { recursive: true, force: true })
  fs.mkdirSync(directory, { recursive: true })
  try {
    console.log(`fetching tfjs-node ${version}`)
    const tfjsNode = fetchPackages(directory, version)
    console.log(`fetching tensorflow-cpu ${wheel.version} (about 210 MB)`)
    const library = fetchLibrary(directory)
    console.log(`building the addon with ${compiler}`)
    build(directory, tfjsNode, library, compiler)
    fs.renameSync(tfjsNode, kept)
  } finally {
    fs.rmSync(directory, { recursive: true, force: true })
  }
  return kept
}

function main(): string {
  const before = load()
  if ('versions' in before) return `${before.versions} already loads, nothing to do`
  const platform = `${process.platform}-${process.arch}`
  if (platform !== 'linux-x64') throw new Error(`this wheel is for linux-x64, not ${platform}`)
  place(obtain(tfjsVersion()))
  const after = load()
  if ('reason' in after) throw new Error(`built in .faultline/tfjs-node, but does not load: ${after.reason}`)
  return `${after.versions} installed and loads, matMul verified`
}

try {
  console.log(`@tensorflow/tfjs-node ${main()}`)
} catch (error) {
  console.error(`tfjs-node-from-wheel: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
}
