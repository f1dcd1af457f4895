import { mkdirSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import {
  FaultlineError,
  type Inference,
  toFaultlineError,
  type UpdateChunk,
  type UpdateOffer,
  type UpdateRequest,
  type UpdateState,
  type UpdateStatus,
  verifyDigest,
} from '@faultline/protocol'
import type { Logger, Service } from '@faultline/runtime'
import type { Disk } from './disk.ts'
import { Download } from './download.ts'
import type { Journal } from './journal.ts'
import { Probation, probationAuditRate } from './probation.ts'
import { canBeGivenUp, isOver } from './states.ts'
import type { UpdateSubject } from './subject.ts'

/** Carries what a device says of updates to the broker. */
export interface UpdateVoice {
  status(status: UpdateStatus): void
  request(request: UpdateRequest): void
}

export interface UpdaterOptions {
  /** Holds parts of archives; the journal lies beside them. */
  directory: string
  journal: Journal
  disk: Disk
  /** By kind of what is offered. */
  subjects: { bundle: UpdateSubject; agent?: UpdateSubject }
  /** Public keys. Without any, nothing is taken: what comes over a network never runs unsigned. */
  trusted: readonly string[] | undefined
  /** What the running agent has seen: answered audits of its model, errors since its start, whether it is connected. */
  observe: () => { audits: number; wrong: number; errors: number; online: boolean }
  logger: Logger
}

/** Archives that may arrive damaged before an offer is given up. */
const maxDamaged = 2
/** How long a stop waits for the step under way. */
const farewellMs = 2_000
/** How long a new agent may take to find the broker. */
const mostSecondsAlone = 900
/** Between two messages about something that goes on. */
const progressMs = 5_000

/**
 * Takes one update after the other from offer to end: fetched, verified, tried, switched to, watched, and kept or taken back.
 * Every step is in the journal before the next begins and can be repeated, so that a power cut between any two leaves a
 * device that runs one of the two versions and goes on.
 */
export class Updater implements Service {
  private readonly options: UpdaterOptions
  private readonly downloads: string
  private voice: UpdateVoice | undefined
  private download: Download | undefined
  private probation: Probation | undefined
  private errorsBefore = 0
  private timer: NodeJS.Timeout | undefined
  private lonely: NodeJS.Timeout | undefined
  private toldAt = Number.NEGATIVE_INFINITY
  private next: UpdateOffer | undefined
  private wasConnected = false
  private stopped = false
  private begun: () => void = () => {}
  /** One step after the other, from the start on, whatever comes meanwhile. */
  private work = new Promise<void>(resolve => {
    this.begun = resolve
  })

  constructor(options: UpdaterOptions) {
    this.options = options
    this.downloads = join(options.directory, 'downloads')
  }

  /** Goes on where it was left. */
  async start(): Promise<void> {
    this.go(async () => {
      mkdirSync(this.downloads, { recursive: true })
      await this.resume()
      await this.proceed()
    })
    this.begun()
  }

  /** Ends after the step that is under way. */
  async stop(): Promise<void> {
    this.stopped = true
    this.download?.stop()
    clearTimeout(this.timer)
    clearTimeout(this.lonely)
    this.begun()
    // A trial takes minutes at worst, and its step is done again at the next start.
    await Promise.race([this.work, delay(farewellMs, undefined, { ref: false })])
  }

  /** Done with everything that was given to it so far. */
  async settled(): Promise<void> {
    let work: Promise<void>
    do {
      work = this.work
      await work
    } while (work !== this.work)
  }

  /** Share of accepted windows that is audited at least. */
  get auditRate(): number {
    return this.probation ? probationAuditRate : 0
  }

  connected(voice: UpdateVoice): void {
    this.voice = voice
    this.wasConnected = true
    this.tell()
    this.download?.start()
    this.go(() => this.watch())
  }

  disconnected(): void {
    this.voice = undefined
    this.download?.stop()
  }

  /** An offer, new or heard before: a retained message comes with every connection. */
  offered(offer: UpdateOffer): void {
    this.go(async () => {
      const { update } = this.options.journal
      // One that was withdrawn and is made again, as by a rollout that was paused, is a new offer.
      const isWithdrawn = update?.error?.code === 'UPDATE_WITHDRAWN'
      if (update?.offer.id === offer.id && !isWithdrawn) {
        this.tell()
        this.download?.remind()
      } else if (update && !isOver(update.state) && !canBeGivenUp(update.state)) this.next = offer
      else await this.begin(offer)
    })
  }

  /** Nothing is offered any more. What is past the download goes on: it is on the device. */
  withdrawn(): void {
    this.go(async () => {
      this.next = undefined
      const { update } = this.options.journal
      if (update && canBeGivenUp(update.state))
        await this.end('failed', new FaultlineError('UPDATE_WITHDRAWN', 'the offer was withdrawn'))
    })
  }

  chunk(chunk: UpdateChunk): void {
    this.go(async () => {
      const { update } = this.options.journal
      if (!this.download || update?.offer.id !== chunk.id || update.state !== 'downloading') return
      try {
        await this.download.take(chunk)
      } catch (thrown) {
        await this.end('failed', toFaultlineError(thrown, 'UPDATE_REFUSED', 'the disk takes no more'))
        return
      }
      if (this.download.complete) await this.proceed()
      else this.tellNowAndThen()
    })
  }

  inferred(inference: Inference): void {
    if (!this.probation) return
    this.probation.add(inference)
    this.go(() => this.watch())
  }

  private async begin(offer: UpdateOffer): Promise<void> {
    const { journal, logger } = this.options
    this.download?.stop()
    this.download = undefined
    logger.info({ id: offer.id, what: offer.kind, name: offer.name, version: offer.version }, 'an update is offered')
    let subject: UpdateSubject
    try {
      subject = this.admit(offer)
    } catch (thrown) {
      const { code, message } = toFaultlineError(thrown)
      logger.warn({ id: offer.id, code, error: message }, 'the update is not taken')
      await journal.begin(offer, 'failed', { code, message })
      this.tell()
      return
    }
    const state: UpdateState =
      subject.running === offer.digest ? 'done' : subject.has(offer.digest) ? 'trying' : 'downloading'
    await journal.begin(offer, state)
    this.tell()
    await this.proceed()
  }

  /** Throws what is wrong with an offer before a byte of it is fetched. */
  private admit(offer: UpdateOffer): UpdateSubject {
    const { trusted = [], subjects } = this.options
    const subject = subjects[offer.kind]
    if (!subject) throw new FaultlineError('UPDATE_REFUSED', `no ${offer.kind} can be updated here`)
    if (trusted.length === 0)
      throw new FaultlineError('UPDATE_REFUSED', 'the configuration names no trustedKeys: nothing is taken unsigned')
    const signer = verifyDigest(offer.kind, offer.digest, offer.signature)
    if (!signer || !trusted.includes(signer.publicKey))
      throw new FaultlineError(
        'BUNDLE_SIGNATURE_INVALID',
        signer ? `signed with key ${signer.keyId}, which is not trusted` : 'the signature is not of what is offered',
      )
    subject.admit(offer)
    return subject
  }

  private get subject(): UpdateSubject {
    return this.options.subjects[this.options.journal.update!.offer.kind]!
  }

  /** What has become of an update meanwhile. */
  private async resume(): Promise<void> {
    const { update } = this.options.journal
    if (update?.state !== 'switching' && update?.state !== 'probation') return
    const { offer, state } = update
    const found = this.subject.found(offer, state)
    if (found === 'kept') await this.end('done')
    if (found !== 'before') return
    await this.subject.confirm()
    const crashed = new FaultlineError('UPDATE_CRASHED', 'it did not start, or ended again and again on probation')
    await this.end('rolled-back', crashed)
  }

  /** From the state of the journal as far as it goes. */
  private async proceed(): Promise<void> {
    const { journal } = this.options
    while (!this.stopped && journal.update && !isOver(journal.update.state)) {
      const { state, offer } = journal.update
      try {
        if (!(await this.step(state, offer))) return
      } catch (thrown) {
        const error = toFaultlineError(thrown)
        if (this.stopped) return
        if (journal.update.state === 'probation') await this.takeBack(error)
        else await this.end('failed', error)
      }
    }
    if (this.next) {
      const offer = this.next
      this.next = undefined
      await this.begin(offer)
    }
  }

  /** One step; false where it waits for something to come. */
  private async step(state: UpdateState, offer: UpdateOffer): Promise<boolean> {
    if (state === 'downloading') return this.fetch(offer)
    if (state === 'verifying') return this.verify(offer)
    if (state === 'trying') {
      await this.subject.try(offer)
      await this.enter('switching')
      return true
    }
    if (state === 'switching') return this.switch(offer)
    if (this.probation) return false
    this.watchFromNow(offer)
    return false
  }

  private async fetch(offer: UpdateOffer): Promise<boolean> {
    const { disk, logger } = this.options
    this.download ??= new Download({
      directory: this.downloads,
      offer,
      disk,
      request: request => this.voice?.request(request),
    })
    await this.clearDownloads(this.download.path)
    if (!this.download.complete) {
      if (this.voice) this.download.start()
      return false
    }
    logger.info({ id: offer.id, bytes: offer.archive.bytes }, 'the update is fetched')
    await this.enter('verifying')
    return true
  }

  private async verify(offer: UpdateOffer): Promise<boolean> {
    const { journal, disk } = this.options
    const download = new Download({ directory: this.downloads, offer, disk, request: () => {} })
    if (!(await download.sound())) {
      await download.discard()
      this.download = undefined
      const damaged = journal.update!.damaged + 1
      if (damaged >= maxDamaged)
        throw new FaultlineError('UPDATE_DAMAGED', `what was fetched is not ${offer.archive.sha256}, ${damaged} times`)
      await this.enter('downloading', { damaged })
      return true
    }
    await this.subject.install(download.path, offer)
    await this.enter('trying')
    await download.discard()
    return true
  }

  private async switch(offer: UpdateOffer): Promise<boolean> {
    const { journal, observe } = this.options
    const { audits, wrong } = observe()
    const model = offer.kind === 'bundle' ? offer.digest : journal.model
    const runs = await this.subject.switch(offer, () =>
      journal.change({ state: 'probation', starts: 0, audited: { audits, wrong }, before: journal.model }, model),
    )
    if (runs) this.tell()
    return runs
  }

  private watchFromNow(offer: UpdateOffer): void {
    const { journal, observe, logger } = this.options
    const { audited } = journal.update!
    this.probation = new Probation(offer.probation, audited, offer.kind === 'bundle' ? offer.digest : undefined)
    this.errorsBefore = observe().errors
    logger.info({ id: offer.id, ...offer.probation }, 'the new version is on probation')
    this.timer = setTimeout(() => this.go(() => this.watch()), Math.ceil(this.probation.leftMs) + 1)
    if (offer.kind === 'agent')
      this.lonely = setTimeout(() => this.go(() => this.watch()), mostSecondsAlone * 1_000 + 1_000)
    this.tell()
  }

  /** Looks whether probation is over, one way or the other. A device that cannot say so has not stood it. */
  private async watch(): Promise<void> {
    const { probation } = this
    if (!probation) return
    const { errors, online } = this.options.observe()
    const fault = probation.fault(errors - this.errorsBefore) ?? this.unreachable(probation)
    if (fault) {
      await this.takeBack(new FaultlineError('UPDATE_PROBATION_FAILED', fault))
      await this.proceed()
    } else if (probation.served && online) {
      await this.subject.confirm()
      await this.end('done')
      await this.proceed()
    } else this.tellNowAndThen()
  }

  /** A model has no part in the connection; an agent that finds none could not even be given another. */
  private unreachable({ figures }: Probation): string | undefined {
    const { kind, probation } = this.options.journal.update!.offer
    const longEnough = figures.seconds > Math.max(mostSecondsAlone, probation.seconds)
    return kind === 'agent' && !this.wasConnected && longEnough ? 'it found no connection to the broker' : undefined
  }

  private async takeBack(error: FaultlineError): Promise<void> {
    const { journal, logger } = this.options
    const { code, message } = error
    const { before, offer } = journal.update!
    logger.error({ id: offer.id, code, error: message }, 'the update is taken back')
    const figures = this.probation?.figures
    this.probation = undefined
    clearTimeout(this.timer)
    clearTimeout(this.lonely)
    await this.subject.goBack(() =>
      journal.change(
        { state: 'rolled-back', error: { code, message } },
        offer.kind === 'bundle' ? before : journal.model,
      ),
    )
    this.tell(figures)
  }

  private async end(state: 'done' | 'failed' | 'rolled-back', error?: FaultlineError): Promise<void> {
    const { journal, logger } = this.options
    const { id } = journal.update!.offer
    if (error) logger.error({ id, code: error.code, error: error.message }, 'the update is given up')
    else logger.info({ id }, 'the new version stays')
    const figures = this.probation?.figures
    this.probation = undefined
    clearTimeout(this.timer)
    clearTimeout(this.lonely)
    this.download?.stop()
    this.download = undefined
    await journal.change({ state, ...(error && { error: { code: error.code, message: error.message } }) })
    this.tell(figures)
    await this.tidy()
  }

  /** Keeps what runs and what was before it. */
  private async tidy(): Promise<void> {
    const { journal } = this.options
    const { offer, before, state } = journal.update!
    await this.clearDownloads()
    const kept = [journal.model, before, state === 'done' ? offer.digest : null]
    await this.subject.keepOnly(kept.filter(digest => digest !== null))
  }

  private async clearDownloads(but?: string): Promise<void> {
    for (const name of await readdir(this.downloads)) {
      const path = join(this.downloads, name)
      if (path !== but) await this.options.disk.remove(path)
    }
  }

  private async enter(state: UpdateState, changes: { damaged?: number } = {}): Promise<void> {
    await this.options.journal.change({ state, ...changes })
    this.tell()
  }

  private tellNowAndThen(): void {
    if (performance.now() - this.toldAt >= progressMs) this.tell()
  }

  private tell(probation = this.probation?.figures): void {
    const { update } = this.options.journal
    if (!update || !this.voice) return
    this.toldAt = performance.now()
    const { offer, state, error } = update
    this.voice.status({
      id: offer.id,
      kind: offer.kind,
      digest: offer.digest,
      at: new Date().toISOString(),
      state,
      ...(this.download && state === 'downloading' && { received: this.download.received, bytes: offer.archive.bytes }),
      ...(probation && { probation }),
      ...(error && { error }),
    })
  }

  private go(step: () => Promise<void>): void {
    this.work = this.work.then(async () => {
      if (this.stopped) return
      try {
        await step()
      } catch (thrown) {
        const { code, message } = toFaultlineError(thrown)
        this.options.logger.error({ code, error: message }, 'the update cannot go on')
      }
    })
  }
}
