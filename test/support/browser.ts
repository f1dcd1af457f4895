import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Browser, chromium, type Page } from 'playwright-core'
import sharp from 'sharp'
import { findProgram } from './programs.ts'

const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--no-first-run',
]

/** Chromium, closed when the test ends. */
export async function startBrowser(t: Pick<TestContext, 'after'>): Promise<Browser> {
  const browser = await chromium.launch({ executablePath: findProgram('chromium')!, args: flags })
  t.after(() => browser.close())
  return browser
}

/** Where pictures for the documents are written: `TEST_SCREENSHOTS=docs/images npm test -- e2e/browser.test.ts`. */
export const screenshots = process.env.TEST_SCREENSHOTS

/** Two pictures of a page as it is now, light and dark; none unless they are asked for. */
export async function picture(page: Page, name: string, size: { width: number; height: number }): Promise<void> {
  if (screenshots === undefined) return
  await mkdir(screenshots, { recursive: true })
  await page.setViewportSize(size)
  await page.evaluate(
    `for (const place of [document.documentElement, ...document.querySelectorAll('textarea')]) place.scrollTop = 0`,
  )
  await page.mouse.move(0, 0) // Nothing looks as if it were being pressed.
  for (const [colorScheme, suffix] of [
    ['dark', '-dark'],
    ['light', ''],
  ] as const) {
    await page.emulateMedia({ colorScheme })
    const shot = await page.screenshot({ animations: 'disabled' })
    await sharp(shot)
      .png({ palette: true })
      .toFile(join(screenshots, `${name}${suffix}.png`))
  }
}
