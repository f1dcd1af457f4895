import type { DeviceProblem } from '../dashboard/devices-view.ts'
import type { MachineStatus } from '../dashboard/machine-status.ts'

/** Names of states that only pages show; those of alarms are in `flows/alarms/state-names.ts`. */
export const machineStatusNames: Readonly<Record<MachineStatus, string>> = {
  alarm: 'Alarm',
  suspect: 'Suspect',
  unknown: 'No answer',
  offline: 'Offline',
  normal: 'Normal',
}

/** Who decided a window. */
export const deciderNames: Readonly<Record<string, string>> = {
  local: 'Device',
  server: 'Server',
  'local-fallback': 'Device (no verdict)',
  episode: 'Server (episode)',
}

export const deviceProblemNames: Readonly<Record<DeviceProblem, string>> = {
  offline: 'Offline',
  silent: 'Says nothing',
  sensor: 'Sensor at fault',
  servers: 'No server answers',
  certificate: 'Certificate ends',
  update: 'Update failed',
  clock: 'Clock not synchronised',
  spool: 'Messages wait',
  dropped: 'Messages lost',
}
