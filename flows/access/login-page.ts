import { readFile } from 'node:fs/promises'

export interface LoginPage {
  /** What the page says of an attempt before. */
  problem?: string
  /** The name of that attempt. */
  name?: string
  /** Where to go afterwards. */
  to: string
}

const styles = readFile(new URL('login-page.css', import.meta.url), 'utf8')

/** The page that asks who somebody is: no script, nothing from elsewhere. */
export async function loginPage({ problem, name = '', to }: LoginPage): Promise<string> {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Log in · Faultline</title>
<style>${await styles}</style>
</head>
<body>
<main>
<h1>Faultline</h1>
<p>Log in to see the fleet.</p>
<form method="post" action="/login">
<input type="hidden" name="to" value="${escaped(to)}">
<label>Name<input name="name" value="${escaped(name)}" autocomplete="username" autocapitalize="none" spellcheck="false" required${name === '' ? ' autofocus' : ''}></label>
<label>Password<input name="password" type="password" autocomplete="current-password" required${name === '' ? '' : ' autofocus'}></label>
${problem === undefined ? '' : `<p class="problem" role="alert">${escaped(problem)}</p>\n`}<button type="submit">Log in</button>
</form>
</main>
</body>
</html>
`
}

const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }

const escaped = (text: string): string => text.replace(/[&<>"']/g, sign => entities[sign]!)
