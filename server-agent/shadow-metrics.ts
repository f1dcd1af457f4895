import { metrics } from '@faultline/runtime'
import type { ServerAgent } from './agent.ts'
import { nameOf } from './routes.ts'

/** Pairs of labels that get a series of their own; a task of a thousand classes could have a million. */
const mostPairs = 500

/** How far the shadows agree with the models that answer, for Prometheus. */
export function measureShadows(agent: ServerAgent, registry: metrics.Registry, buckets: readonly number[]): void {
  const windows = new metrics.Counter({
    name: 'faultline_server_shadow_windows_total',
    help: 'Answered windows of tasks with a shadow, by what it made of them',
    labelNames: ['task', 'model', 'shadow', 'outcome'],
    registers: [registry],
  })
  const disagreements = new metrics.Counter({
    name: 'faultline_server_shadow_disagreements_total',
    help: 'Windows that a shadow gave another label, by both labels',
    labelNames: ['task', 'model', 'shadow', 'answered', 'shadowed'],
    registers: [registry],
  })
  const seconds = new metrics.Histogram({
    name: 'faultline_server_shadow_inference_seconds',
    help: 'What the batch that a window was in took a shadow',
    labelNames: ['task', 'shadow'],
    buckets: [...buckets],
    registers: [registry],
  })
  const pairs = new Set<string>()
  agent.on('shadow', ({ task, label, answer, outcome, inferMs, ...models }) => {
    const [model, shadow] = [nameOf(models.model), nameOf(models.shadow)]
    windows.inc({ task, model, shadow, outcome })
    if (inferMs !== undefined) seconds.observe({ task, shadow }, inferMs / 1_000)
    if (!answer || outcome !== 'disagreed') return
    const pair = JSON.stringify([task, model, shadow, label, answer.label])
    const known = pairs.has(pair) || pairs.size < mostPairs
    if (known) pairs.add(pair)
    const labels = known ? { answered: label, shadowed: answer.label } : { answered: 'other', shadowed: 'other' }
    disagreements.inc({ task, model, shadow, ...labels })
  })
}
