/** What work takes, from a data sheet or a meter: nothing of it is measured by the agent. */
export interface EnergyConstants {
  joulesPerInference: number
  /** Where the price list says nothing of the link. */
  joulesPerByte: number
}

/** An estimate of the energy that inferences and sending have taken, each byte at what its link took then. */
export class EnergyEstimate {
  private readonly constants: EnergyConstants
  private joules = 0
  private windows = 0
  private bytes = 0

  constructor(constants: EnergyConstants) {
    this.constants = constants
  }

  /** J since the start, from the windows and bytes since then. */
  total(windows: number, bytes: number, linkJoulesPerByte: number | undefined): number {
    const { joulesPerInference, joulesPerByte } = this.constants
    this.joules += (windows - this.windows) * joulesPerInference
    this.joules += (bytes - this.bytes) * (linkJoulesPerByte ?? joulesPerByte)
    this.windows = windows
    this.bytes = bytes
    return this.joules
  }
}
