import { copyFile, readFile, rename, stat, writeFile } from 'node:fs/promises'
import type { Logger } from '@faultline/runtime'
import { pagesWidget } from './pages-widget.ts'

/** A node as Node-RED saves it. */
interface SavedNode {
  id: string
  type: string
  name?: string
  className?: string
  templateScope?: string
  format?: string
  store?: string
  acceptsClientConfig?: string[]
  wires?: string[][]
  nodes?: string[]
  [entry: string]: unknown
}

/** Nodes behind pages, and which page each serves. */
const pageOf: Readonly<Record<string, string>> = {
  'faultline-fleet': 'fleet',
  'faultline-machine': 'machine',
  'faultline-alarms': 'alarms',
  'faultline-decisions': 'decisions',
  'faultline-devices': 'devices',
}

export interface UpgradedFlow {
  nodes: SavedNode[]
  /** Ids of the pages that were replaced. */
  replaced: string[]
}

/**
 * A flow whose pages were text in templates, as they came with earlier versions, with the pages of this one in their places;
 * undefined for a flow that has none, or has widgets already: what a person puts back stays. Everything else is kept.
 */
export function withWidgets(saved: readonly SavedNode[]): UpgradedFlow | undefined {
  if (saved.some(({ type }) => type === pagesWidget.type)) return undefined
  const types = new Map(saved.map(({ id, type }) => [id, type]))
  const pageBehind = (node: SavedNode): string | undefined => {
    if (node.type !== 'ui-template' || node.className !== 'faultline-fleet') return undefined
    const served = (node.wires ?? []).flat().map(id => pageOf[types.get(id) ?? ''])
    return served.find(page => page !== undefined)
  }
  const replaced = saved.filter(node => pageBehind(node) !== undefined).map(({ id }) => id)
  if (replaced.length === 0) return undefined
  const gone = new Set(saved.filter(isPartOfPages).map(({ id }) => id))
  const store = saved.find(({ type, store }) => type === 'faultline-alarms' && store)?.store
  const nodes = saved
    .filter(({ id }) => !gone.has(id))
    .map(node => {
      const page = pageBehind(node)
      return without(gone, page === undefined ? upgraded(node, store) : widgetOf(node, page))
    })
  return { nodes, replaced }
}

/** The style of all pages, and the line that says who is logged in: both are part of the widget. */
const isPartOfPages = ({ type, templateScope, format = '' }: SavedNode): boolean =>
  type === 'ui-template' &&
  ((templateScope === 'site:style' && format.includes('.faultline-fleet')) ||
    (templateScope === 'widget:ui' && format.includes('class="fl-account"')))

function widgetOf(
  { id, z, group, name, order, width, height, x, y, wires, ...rest }: SavedNode,
  page: string,
): SavedNode {
  const place = { z, ...('g' in rest && { g: rest.g }), ...('d' in rest && { d: rest.d }), group }
  return { id, type: pagesWidget.type, ...place, name, page, order, width, height, x, y, wires }
}

/** The machine's page reads its past from the store that the page of alarms reads. */
function upgraded(node: SavedNode, store: string | undefined): SavedNode {
  if (node.type === 'faultline-machine' && node.store === undefined && store !== undefined) return { ...node, store }
  if (node.type !== 'ui-base' || !node.acceptsClientConfig || node.acceptsClientConfig.includes(pagesWidget.type))
    return node
  return { ...node, acceptsClientConfig: [...node.acceptsClientConfig, pagesWidget.type] }
}

/** A node that mentions none of those that are gone: in its wires, or in a group of the editor. */
function without(gone: ReadonlySet<string>, node: SavedNode): SavedNode {
  const keep = (ids: string[]) => ids.filter(id => !gone.has(id))
  const { wires, nodes } = node
  return { ...node, ...(wires && { wires: wires.map(keep) }), ...(nodes && { nodes: keep(nodes) }) }
}

/**
 * Upgrades the pages of a saved flow, and keeps a copy of the flow as it was beside it: pages that somebody has edited are
 * replaced, too. A file that is no flow is left to Node-RED, which says so.
 */
export async function upgradeSavedPages(file: string, logger: Logger): Promise<void> {
  const nodes = savedNodes(await readFile(file, 'utf8'))
  const upgrade = nodes && withWidgets(nodes)
  if (!upgrade) return
  const backup = `${file}.${new Date().toISOString().replaceAll(':', '')}.backup`
  await copyFile(file, backup)
  const unfinished = `${file}.unfinished`
  const { mode } = await stat(file)
  await writeFile(unfinished, `${JSON.stringify(upgrade.nodes, null, 4)}\n`, { mode })
  await rename(unfinished, file)
  const pages = upgrade.replaced
  logger.info({ backup, pages }, 'saved flow has pages of an earlier version; replaced them, and kept a backup copy')
}

function savedNodes(text: string): SavedNode[] | undefined {
  try {
    const nodes: unknown = JSON.parse(text)
    const isNode = (node: unknown) => typeof (node as SavedNode | null)?.id === 'string'
    return Array.isArray(nodes) && nodes.every(isNode) ? (nodes as SavedNode[]) : undefined
  } catch {
    return undefined
  }
}
