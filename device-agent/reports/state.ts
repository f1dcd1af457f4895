import { contractVersion, type DeviceState, type LoadedModel, type PointState } from '@faultline/protocol'
import { version } from '@faultline/runtime'
import type { RuntimeSettings } from '../control/configuration.ts'
import type { LocalModel } from '../decisions/assessment.ts'
import type { CommissioningKeeper } from '../decisions/commissioning-keeper.ts'
import type { AgentPoint } from '../point-monitor.ts'
import { certificateUntil } from './certificate.ts'
import { clockSynchronised } from './clock.ts'

/** What the device says of itself while it is connected. */
export function onlineState(
  boot: number,
  model: LocalModel,
  enginesRejected: LoadedModel['enginesRejected'],
  settings: RuntimeSettings,
  points: readonly AgentPoint[],
  commissioning: Pick<CommissioningKeeper, 'stateOf'>,
  certificate: string | undefined,
): DeviceState {
  const until = certificateUntil(certificate)
  return {
    online: true,
    at: new Date().toISOString(),
    boot,
    clockSynchronised: clockSynchronised(),
    agentVersion: version,
    contract: contractVersion,
    ...(until !== undefined && { certificateUntil: until }),
    models:
      model.trained === false
        ? []
        : [{ ...model.model, task: model.task, role: 'local', engine: model.engine, enginesRejected }],
    policy: settings.policy,
    points: points.map(point => pointState(point, commissioning.stateOf(point.point))),
  }
}

/** The will carries no time: the broker publishes it long after it was made. */
export const willState = (boot: number): DeviceState => ({ online: false, boot })

export const offlineState = (boot: number): DeviceState => ({ online: false, boot, at: new Date().toISOString() })

const pointState = (
  { point, machine, machineType, source }: AgentPoint,
  commissioning: PointState['commissioning'],
): PointState => ({
  point,
  machine,
  ...(machineType !== undefined && { machineType }),
  rateHz: source.rateHz,
  windowSamples: source.windowSamples,
  ...(commissioning && { commissioning }),
})
