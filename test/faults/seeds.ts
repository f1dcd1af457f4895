import { thorough } from '../support/thorough.ts'

/** Seeds of this run: `FAULT_SEED` of the environment alone, or fixed ones, more of them where there is time. */
export function seeds(few: number, many: number): number[] {
  const { FAULT_SEED } = process.env
  if (FAULT_SEED !== undefined) return [Number(FAULT_SEED)]
  return Array.from({ length: thorough ? many : few }, (_, i) => i + 1)
}
