/** How a machine is, worst first. */
export const machineStatuses = ['alarm', 'suspect', 'unknown', 'offline', 'normal'] as const
export type MachineStatus = (typeof machineStatuses)[number]
