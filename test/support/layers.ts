import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { dirname, join, relative, resolve, sep } from 'node:path'

const scope = '@faultline/'

/** Which folder may import which: the table of CONTRIBUTING.md. `*` stands for every folder. */
export const layers: Record<string, readonly string[]> = {
  protocol: [],
  runtime: ['protocol'],
  inference: ['protocol'],
  'device-agent': ['protocol', 'runtime', 'inference'],
  'server-agent': ['protocol', 'runtime', 'inference'],
  broker: ['protocol', 'runtime'],
  telemetry: ['protocol', 'runtime'],
  flows: ['protocol', 'runtime', 'inference', 'telemetry'],
  provisioning: ['protocol', 'runtime'],
  lab: ['protocol', 'runtime', 'inference', 'telemetry', 'server-agent'],
  fleet: ['*'],
  bench: ['*'],
  test: ['*'],
}

/** Every import that breaks a rule, as a sentence with the file and the import in it. */
export function layerFaults(root: string, rules: Record<string, readonly string[]> = layers): string[] {
  const { workspaces } = readPackage(root) as unknown as { workspaces: string[] }
  return workspaces.flatMap(folder => {
    const allowed = rules[folder]
    if (!allowed) return [`${folder}: a workspace that the layers do not name`]
    const declared = declaredBy(join(root, folder))
    return sourceFiles(join(root, folder)).flatMap(file =>
      importsOf(readFileSync(file, 'utf8')).flatMap(specifier => {
        const fault = faultOf({ root, folder, file, specifier, allowed, declared })
        return fault ? [`${relative(root, file)} imports '${specifier}': ${fault}`] : []
      }),
    )
  })
}

interface Import {
  root: string
  folder: string
  file: string
  specifier: string
  allowed: readonly string[]
  declared: ReadonlySet<string>
}

function faultOf({ root, folder, file, specifier, allowed, declared }: Import): string | undefined {
  if (isBuiltin(specifier)) return undefined
  if (specifier.startsWith('.')) {
    // Tests reach the inner parts that no public face has; a product folder keeps to itself.
    const reach = folder === 'test' ? root : join(root, folder)
    const inside = relative(reach, resolve(dirname(file), specifier))
    return inside.startsWith('..')
      ? `a relative import leaves ${relative(root, reach) || 'the repository'}/`
      : undefined
  }
  if (specifier.startsWith('/') || specifier.startsWith('file:')) return 'an absolute path'
  const name = packageOf(specifier)
  if (name.startsWith(scope)) {
    const target = name.slice(scope.length)
    if (specifier !== name) return `go through the public face of ${target}/, its index.ts`
    if (target === folder) return 'a folder imports its own files by relative path'
    if (!allowed.includes('*') && !allowed.includes(target)) return `${folder}/ may not import ${target}/`
  }
  return declared.has(name) ? undefined : `${folder}/package.json does not list ${name}`
}

/** `@scope/name` of `@scope/name/path`, `name` of `name/path`. */
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

/**
 * The modules a file imports: statically, for types, by re-export, dynamically, by `require`. Statements are looked for
 * at the beginning of a line, where the formatter puts them, so that comments do not count.
 */
export function importsOf(source: string): string[] {
  const patterns = [
    /^\s*(?:import|export)\b[^'"`]*?\bfrom\s*(['"])([^'"\n]+)\1/gm,
    /^\s*import\s*(['"])([^'"\n]+)\1/gm,
    /\b(?:import|require)\(\s*(['"`])([^'"`\n$]+)\1/g,
  ]
  const found = patterns.flatMap(pattern => [...source.matchAll(pattern)].map(match => match[2]!))
  return [...new Set(found)]
}

function sourceFiles(directory: string): string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile() && /\.[cm]?[jt]s$/.test(entry.name))
    .map(entry => join(entry.parentPath, entry.name))
    .filter(path => !path.split(sep).includes('node_modules'))
    .sort()
}

function declaredBy(folder: string): ReadonlySet<string> {
  const { dependencies, devDependencies, optionalDependencies, peerDependencies } = readPackage(folder)
  const lists = [dependencies, devDependencies, optionalDependencies, peerDependencies]
  return new Set(lists.flatMap(list => Object.keys(list ?? {})))
}

function readPackage(folder: string): Record<string, object | undefined> {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as Record<string, object | undefined>
}
