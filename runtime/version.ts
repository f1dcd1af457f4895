import { readFileSync } from 'node:fs'

/** The version of this software, from the package it belongs to. */
export const version: string = (
  JSON.parse(readFileSync(new URL('./package.json', import.meta.url), 'utf8')) as { version: string }
).version
