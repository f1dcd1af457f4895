import { betaQuantile, type Inference, type UpdateOffer, type UpdateStatus } from '@faultline/protocol'

export type Terms = UpdateOffer['probation']
export type ProbationFigures = NonNullable<UpdateStatus['probation']>

/** While a version is on probation at least this share of what it accepts is audited: without audits nobody would know. */
export const probationAuditRate = 0.1

/** How sure a probation has to be that a model does worse; it looks again with every window, hence not 95 %. */
const confidence = 0.99
/** Windows that failed: fewer, or a smaller share, may happen to any version. */
const mostTroubles = { count: 5, share: 0.1 }

const percent = (share: number): string => `${(share * 100).toFixed(1)} %`

/**
 * What a new version does in its first windows, and whether it may stay. It falls when it fails on windows (no valid answer, a
 * coded error), or when servers contradict more of what it accepted than its terms allow. Only audits are counted: they are
 * drawn by chance from what was accepted, while an escalation is a window the model doubted itself, and a better model
 * doubts other ones.
 */
export class Probation {
  private readonly terms: Terms
  private readonly digest: string | undefined
  /** Share of accepted windows that may be wrong. */
  private readonly allowed: number
  private readonly begun = performance.now()
  private windows = 0
  private invalid = 0
  private audits = 0
  private wrong = 0

  /**
   * @param before What audits said of the version before: the new one may be as bad as that one certainly was. A single
   *   audit that happened to be wrong must not let everything pass.
   * @param digest The model on probation. What others answer, a commissioned point among them, says nothing of it. Absent
   *   where it is the agent that is on probation.
   */
  constructor(terms: Terms, before: { audits: number; wrong: number }, digest?: string) {
    this.terms = terms
    this.digest = digest
    this.allowed = Math.max(terms.disagreement, wrongAtLeast(before))
  }

  get figures(): ProbationFigures {
    const seconds = Math.round((performance.now() - this.begun) / 100) / 10
    return { seconds, windows: this.windows, audits: this.audits, wrong: this.wrong }
  }

  /** How much longer it lasts at least, in ms. */
  get leftMs(): number {
    return Math.max(0, this.terms.seconds * 1_000 - (performance.now() - this.begun))
  }

  /** Counts an inference; a revision brings the verdict on a window that was counted. */
  add({ local, server, reason, revises, episode }: Inference): void {
    if (revises === undefined) this.windows++
    if (this.digest !== undefined && !this.digest.startsWith(local.model.digest)) return
    if (revises === undefined && local.confidence === null) this.invalid++
    if (reason !== 'audit' || !server) return
    this.audits++
    if (server.label !== (episode ?? local).label) this.wrong++
  }

  /**
   * Why it falls; undefined while it does not.
   * @param errors Windows and messages that were refused since it began.
   */
  fault(errors: number): string | undefined {
    const { windows, audits, wrong } = this
    const troubles = this.invalid + errors
    if (troubles >= mostTroubles.count && troubles > mostTroubles.share * (windows + errors))
      return `${this.invalid} of ${windows} windows without a valid answer, ${errors} errors`
    const atLeast = wrongAtLeast({ audits, wrong })
    if (atLeast <= this.allowed) return undefined
    const bounds = `at least ${percent(atLeast)} at 99 %, ${percent(this.allowed)} are allowed`
    return `servers contradict ${wrong} of ${audits} audited windows: ${bounds}`
  }

  /** Whether it has lasted long enough. */
  get served(): boolean {
    return this.leftMs === 0 && this.windows >= this.terms.windows
  }
}

/** Clopper & Pearson's lower bound on the share that is wrong. */
const wrongAtLeast = ({ audits, wrong }: { audits: number; wrong: number }): number =>
  wrong === 0 ? 0 : betaQuantile(1 - confidence, wrong, audits - wrong + 1)
