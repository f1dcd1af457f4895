import type { z } from 'zod'

/**
 * Version of the contract that this software speaks: the major is that of the topic prefix, the minor grows with every
 * compatible addition. Writers say it in `state`; readers need it for nothing but display.
 */
export const contractVersion = '1.1'

/** Marks what a minor version of the contract added; the reference pages and the AsyncAPI document show it. */
export const since = <T extends z.ZodType>(version: string, schema: T): T => schema.meta({ 'x-since': version }) as T
