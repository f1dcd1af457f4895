import { globSync } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { dirname, join, relative, sep } from 'node:path'
import { root } from './processes.ts'

const notOurs = new Set(['node_modules', '.git', '.faultline', 'coverage', 'reports'])

/** Every page of the repository, relative to its root. */
export const pages = (): string[] =>
  globSync('**/*.md', { cwd: root, exclude: path => path.split(sep).some(part => notOurs.has(part)) }).sort()

/** A page's Markdown without what stands in fences, comments and code. */
const prose = (text: string): string =>
  text
    .replace(/^( *)(`{3,}|~{3,})[^\n]*\n[\s\S]*?^\1\2 *$/gm, '')
    .replace(/<!--[\s\S]*?-->/g, '')
    .replace(/(`+)(?!`)[\s\S]*?[^`]\1(?!`)/g, code => code.replace(/[[\]()<>]/g, ' '))

/** The targets of links and images, in Markdown or HTML, in order. */
export function linksOf(text: string): string[] {
  const forms =
    /\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)|^ {0,3}\[[^\]]+\]:\s*<?(\S+?)>?\s*$|\b(?:href|src)="([^"]*)"/gm
  return [...prose(text).matchAll(forms)].map(match => match[1] ?? match[2] ?? match[3]!)
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(text: string): Set<string> {
  const anchors = new Set<string>()
  for (const [, heading = ''] of text.replace(/^```[\s\S]*?^```/gm, '').matchAll(/^#{1,6} +(.+?) *#*$/gm)) {
    const plain = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, '$1').toLowerCase()
    const slug = plain.replace(/[^\p{L}\p{N}\p{M} _-]/gu, '').replaceAll(' ', '-')
    let unique = slug
    for (let n = 1; anchors.has(unique); n++) unique = `${slug}-${n}`
    anchors.add(unique)
  }
  return anchors
}

/** What is wrong with the links of one page; links to elsewhere are not followed. */
export async function deadLinks(page: string): Promise<string[]> {
  const text = await readFile(join(root, page), 'utf8')
  const faults = await Promise.all(
    linksOf(text).map(async link => {
      if (/^[a-z][a-z0-9+.-]*:/i.test(link)) return []
      const fault = await faultOf(link, page, text)
      return fault ? [`${page}: ${link}: ${fault}`] : []
    }),
  )
  return faults.flat()
}

async function faultOf(link: string, page: string, text: string): Promise<string | undefined> {
  const [path = '', anchor] = link.split('#')
  const target = path === '' ? join(root, page) : join(root, dirname(page), decodeURIComponent(path))
  if (relative(root, target).startsWith('..')) return 'leaves the repository'
  const found = await stat(target).catch(() => undefined)
  if (!found) return 'there is no such file'
  if (anchor === undefined || !target.endsWith('.md')) return undefined
  const there = path === '' ? text : await readFile(target, 'utf8')
  return anchorsOf(there).has(anchor) ? undefined : 'there is no such heading'
}
