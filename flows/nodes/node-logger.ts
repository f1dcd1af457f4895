import type { Logger } from '@faultline/runtime'
import { pino } from 'pino'
import type { RuntimeNode } from './node-red.ts'

const warning = 40

/** A logger whose lines become lines of a node. */
export function nodeLogger(node: Pick<RuntimeNode<never>, 'debug' | 'log' | 'warn'>): Logger {
  return pino(
    { level: 'info', base: null, timestamp: false },
    {
      write(line: string) {
        const { level, msg, ...details } = JSON.parse(line) as { level: number; msg: string }
        const text = [msg, ...Object.entries(details).map(([name, value]) => `${name}=${String(value)}`)].join(' ')
        if (level >= warning) node.warn(text)
        else node.log(text)
      },
    },
  )
}
