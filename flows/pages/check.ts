import { createRequire } from 'node:module'
import { run } from 'vue-tsc'

/** Checks the types of the pages. `vue-tsc` extends a compiler written in JavaScript, which TypeScript 7 is not. */
const require = createRequire(import.meta.url)
process.argv.push('--noEmit', '--project', import.meta.dirname)
run(require.resolve('typescript/lib/tsc'))
