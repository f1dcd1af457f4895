import { encodeWindow, FaultlineError, identifier } from '@faultline/protocol'
import { version } from '@faultline/runtime'
import { z } from 'zod'
import type { PointMonitor } from '../point-monitor.ts'
import { clockSynchronised } from '../reports/clock.ts'
import type { CommandHandler } from './commands.ts'

export interface HandlerParts {
  boot: number
  monitors: () => readonly PointMonitor[]
  recalibrate: CommandHandler
  /** Health, configuration and whatever else a person far away wants to see. */
  report: () => Record<string, unknown>
  /** Begins anew once the result of the command is on its way. */
  restart: () => void
}

const captureArgs = z.strictObject({
  point: identifier,
  withinS: z.number().positive().max(600).default(60),
})

/** What a device can be told to do. */
export function commandHandlers(parts: HandlerParts): Record<string, CommandHandler> {
  return {
    ping: () => ({ agentVersion: version, boot: parts.boot }),
    recalibrate: parts.recalibrate,
    capture: args => capture(args, parts.monitors()),
    diagnose: () => ({
      agentVersion: version,
      boot: parts.boot,
      node: process.version,
      platform: `${process.platform} ${process.arch}`,
      clockSynchronised: clockSynchronised(),
      memory: { ...process.memoryUsage() },
      points: parts.monitors().map(({ point: { point, source }, sensor }) => ({
        point,
        rateHz: source.rateHz,
        windowSamples: source.windowSamples,
        intervalMs: source.intervalMs,
        overruns: source.overruns,
        ...(sensor && { sensor }),
      })),
      ...parts.report(),
    }),
    restart: () => {
      parts.restart()
      return { boot: parts.boot }
    },
  }
}

/** The next window of a point, as an escalation would carry it, its samples in base64. */
async function capture(
  args: Record<string, unknown>,
  monitors: readonly PointMonitor[],
): Promise<Record<string, unknown>> {
  const parsed = captureArgs.safeParse(args)
  if (!parsed.success) throw new FaultlineError('COMMAND_INVALID', 'capture takes { point, withinS? }: a name, seconds')
  const { point, withinS } = parsed.data
  const monitor = monitors.find(candidate => candidate.point.point === point)
  if (!monitor) throw new FaultlineError('COMMAND_INVALID', `"${point}" is no point of this device`)
  const { window, at } = await monitor.next(withinS * 1_000)
  const { bytes, ...described } = encodeWindow(window)
  const { shaftHz } = window
  return {
    point,
    at: at.toISOString(),
    ...described,
    bytes: Buffer.from(bytes).toString('base64'),
    ...(shaftHz !== undefined && { shaftHz }),
  }
}
