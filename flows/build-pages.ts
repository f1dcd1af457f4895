import { createHash, randomUUID } from 'node:crypto'
import { copyFile, mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { pagesWidget } from './pages-widget.ts'

const sources = fileURLToPath(new URL('.', import.meta.url))
/** Everything that the pages are made of; they import nothing else but types. */
const folders = ['pages', 'dashboard', 'alarms'] as const
const tools = ['vite', 'vue', '@vitejs/plugin-vue'] as const
/** What was built before, by digest of what it was built from. */
const cache = fileURLToPath(new URL('../node_modules/.cache/faultline-pages/', import.meta.url))

/**
 * Writes the pages of the dashboard as one script. Vite builds it, in seconds, when the sources are others than at the last
 * time; else the file of that time is copied. Throws what Vite throws.
 */
export async function buildPages(file: string): Promise<void> {
  const built = join(cache, `${await digestOfSources()}.js`)
  try {
    await copyFile(built, file)
  } catch {
    const code = await bundle()
    await writeFile(file, code)
    // Where the cache cannot be written, as in an installation that only its owner writes to, each start builds anew.
    await keep(built, code).catch(() => {})
  }
}

/** Another process may write the same at the same time. */
async function keep(built: string, code: string): Promise<void> {
  await mkdir(cache, { recursive: true })
  const unfinished = `${built}.${randomUUID()}`
  await writeFile(unfinished, code)
  await rename(unfinished, built)
}

async function digestOfSources(): Promise<string> {
  const hash = createHash('sha256')
  const require = createRequire(import.meta.url)
  for (const tool of tools) hash.update(`${tool} ${(require(`${tool}/package.json`) as { version: string }).version}\n`)
  for (const folder of folders) {
    const names = await readdir(join(sources, folder), { recursive: true })
    for (const name of names.filter(each => /\.(ts|vue|css)$/.test(each)).sort()) {
      hash.update(`\n${folder}/${name}\n`).update(await readFile(join(sources, folder, name)))
    }
  }
  // What is not among the folders but says how they are built.
  hash.update(await readFile(fileURLToPath(import.meta.url)))
  return hash.digest('hex').slice(0, 32)
}

/** Vite is loaded only when there is something to build. */
async function bundle(): Promise<string> {
  const [{ build }, { default: vue }] = await Promise.all([import('vite'), import('@vitejs/plugin-vue')])
  const results = await build({
    configFile: false,
    root: join(sources, 'pages'),
    logLevel: 'silent',
    plugins: [vue()],
    define: { 'process.env.NODE_ENV': '"production"' },
    build: {
      write: false,
      target: 'es2022',
      lib: { entry: 'index.ts', name: pagesWidget.type, formats: ['umd'], fileName: () => pagesWidget.file },
      // The dashboard brings its own, and lets widgets use it.
      rollupOptions: { external: ['vue'], output: { globals: { vue: 'Vue' } } },
    },
  })
  const outputs = Array.isArray(results) ? results.flatMap(({ output }) => output) : []
  const script = outputs.find(output => output.type === 'chunk')
  if (!script) throw new Error('Vite gave no script of the pages')
  return script.code
}
