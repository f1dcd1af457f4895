import type { z } from 'zod'

type Issue = z.core.$ZodIssue

/** Long enough for every message of ours; a payload may name its own unknown keys in a megabyte of text. */
const longest = 300

/**
 * One line for a value that does not fit its schema: where, and what was expected. Of a union, the form that came
 * nearest speaks, because "invalid input" names nothing.
 */
export function describeIssue(error: z.ZodError, whole: string): string {
  const { path, message } = deepest(error.issues[0])
  const text = `${path.join('.') || whole}: ${message}`
  return text.length > longest ? `${text.slice(0, longest)}…` : text
}

function deepest(issue: Issue | undefined): { path: PropertyKey[]; message: string } {
  if (!issue) return { path: [], message: 'does not fit the schema' }
  if (issue.code !== 'invalid_union' || issue.errors.length === 0) return issue
  const [nearest] = [...issue.errors].sort((a, b) => a.length - b.length)
  const inner = deepest(nearest?.[0])
  return { path: [...issue.path, ...inner.path], message: inner.message }
}
