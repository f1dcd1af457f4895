import { readFileSync } from 'node:fs'
import { readCertificate } from '@faultline/runtime'

/** When the certificate in a file ends; undefined where there is none that can be read. Enrolment renews the file as it runs. */
export function certificateUntil(path: string | undefined): string | undefined {
  if (path === undefined) return undefined
  try {
    return readCertificate(readFileSync(path, 'utf8')).notAfter.toISOString()
  } catch {
    return undefined
  }
}
