/**
 * Seeds of this run: `FAULT_SEED` of the environment alone, or as many as `FAULT_SEEDS` says from 1 on. A seed takes up to half a
 * minute for each program, so that CI has few of them.
 */
export function seeds(usual = 1): number[] {
  const { FAULT_SEED, FAULT_SEEDS = usual } = process.env
  if (FAULT_SEED !== undefined) return [Number(FAULT_SEED)]
  return Array.from({ length: Number(FAULT_SEEDS) }, (_, i) => i + 1)
}
