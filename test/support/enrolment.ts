import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { EstService, type EstServiceOptions, Registry } from '@faultline/provisioning'
import { readCertificate, silentLogger } from '@faultline/runtime'
import { initAuthority, loadAuthority } from '../../provisioning/authority.ts'
import { temporaryDirectory } from './temp.ts'

/** A fleet's authority and registry in a directory, and the service that devices enrol with; they go with the test. */
export async function startEnrolment(t: TestContext, options: Partial<EstServiceOptions> = {}) {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'registry.db')
  const { fingerprint } = await initAuthority(path, 'Test fleet', 2)
  const authority = await loadAuthority(path)
  const registry = new Registry(path)
  await registry.start()
  const service = new EstService({
    registry,
    authority: () => loadAuthority(path),
    host: '127.0.0.1',
    port: 0,
    names: ['127.0.0.1'],
    certificateDays: 1,
    logger: silentLogger,
    ...options,
  })
  await service.start()
  t.after(async () => {
    await service.stop()
    await registry.stop()
  })
  const url = `https://127.0.0.1:${service.port}`
  return { directory, path, authority, fingerprint, registry, service, url }
}

/** When a certificate that is issued now is renewed after so long: it is dated back by five minutes. */
export const daysForRenewalAfter = (ms: number): number => ((ms + 100_000) * 1.5) / 86_400_000

export const lifetimeOf = (pem: string): number => {
  const { notBefore, notAfter } = readCertificate(pem)
  return notAfter.getTime() - notBefore.getTime()
}
