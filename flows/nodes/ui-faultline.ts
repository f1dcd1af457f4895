import { FaultlineError } from '@faultline/protocol'
import { pagesWidget } from '../pages-widget.ts'
import { giveUp } from './attempt.ts'
import type { NodeConfig, NodeMessage, NodeRed, RuntimeNode } from './node-red.ts'

interface UiConfig {
  /** A group of Dashboard 2. */
  group?: string
  /** Which page it shows: `fleet`, `machine`, `alarms`, `decisions` or `devices`. */
  page?: string
}

/** What this uses of Dashboard 2 (https://dashboard.flowfuse.com/contributing/widgets/third-party.html). */
interface DashboardBase {
  acceptsClientConfig: string[]
  uiShared?: { contribs: Record<string, unknown> }
}

interface DashboardGroup {
  getBase(): DashboardBase
  register(node: RuntimeNode<never>, config: NodeConfig<UiConfig>, events: object): void
}

/** `ui-faultline`: shows a page of the dashboard, and passes on what a person does there. */
export default function register(red: NodeRed): void {
  function UiFaultline(this: RuntimeNode<never>, config: NodeConfig<UiConfig>): void {
    red.nodes.createNode(this, config)
    try {
      const group = red.nodes.getNode(config.group ?? '') as DashboardGroup | null
      if (!group) throw new FaultlineError('CONFIG_INVALID', 'the page is in no group of a dashboard')
      introduce(group.getBase())
      group.register(this, config, {
        onSend: (message: NodeMessage) => this.send(message),
        // Pages have what they show from the node behind them: the dashboard need not keep any of it.
        onInput: () => {},
      })
    } catch (thrown) {
      giveUp(this, thrown)
    }
  }
  red.nodes.registerType(pagesWidget.type, UiFaultline as (this: never, config: NodeConfig<UiConfig>) => void)
}

/**
 * The dashboard looks for widgets in packages that are named after it, and in the directories of `nodesDir`; it is told of this
 * one wherever it is installed. And an answer to one browser goes to that browser alone, however the dashboard is set.
 */
function introduce({ acceptsClientConfig, uiShared }: DashboardBase): void {
  const { type, file, component } = pagesWidget
  if (!acceptsClientConfig.includes(type)) acceptsClientConfig.push(type)
  if (uiShared) uiShared.contribs[type] = { package: pagesWidget.package, name: type, src: file, component }
}
