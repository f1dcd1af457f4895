/** How pages write what they show. Pure: the time is an argument. */

type Amount = number | null | undefined

/** A name in words: `outer-race` as `Outer race`. */
export function words(label: string): string {
  const text = label.replace(/[-_]+/g, ' ')
  return text.charAt(0).toUpperCase() + text.slice(1)
}

export function percent(share: Amount): string {
  if (share === null || share === undefined) return '–'
  const value = share * 100
  return `${value > 0 && value < 10 ? value.toFixed(1) : Math.round(value)} %`
}

export const number = (value: number): string => value.toLocaleString('en-GB')

/** To three digits, as a reader of an instrument would say it. */
export const short = (value: Amount): string =>
  value === undefined || value === null ? '–' : String(Number(value.toPrecision(3)))

export const size = (bytes: Amount): string => scaled(bytes, ['B', 'kB', 'MB', 'GB', 'TB'])

export const energy = (joules: Amount): string => scaled(joules, ['J', 'kJ', 'MJ', 'GJ'])

export const milliseconds = (value: number): string =>
  value < 1000 ? `${Math.round(value)} ms` : `${(value / 1000).toFixed(1)} s`

export function duration(seconds: number): string {
  if (seconds < 60) return `${Math.round(seconds)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)} h`
  return `${Math.floor(seconds / 86_400)} d`
}

export const ago = (time: string, now: number): string =>
  `${duration(Math.max(0, Math.round((now - Date.parse(time)) / 1000)))} ago`

/** Of today the time, of another day the date before it. */
export function moment(at: string, now: number): string {
  const date = new Date(at)
  const isToday = date.toDateString() === new Date(now).toDateString()
  const day = isToday ? '' : `${date.toLocaleDateString('en-GB', { day: 'numeric', month: 'short' })} `
  return day + date.toLocaleTimeString('en-GB')
}

export const clockTime = (at: string): string =>
  new Date(at).toLocaleTimeString('en-GB', { hour: '2-digit', minute: '2-digit' })

/** The address of the page of a machine. */
export const machineAddress = ({ site, machine }: Record<'site' | 'machine', string>): string =>
  `machine?${new URLSearchParams({ site, machine })}`

function scaled(amount: Amount, units: readonly string[]): string {
  if (amount === null || amount === undefined) return '–'
  let value = amount
  let unit = 0
  while (Math.abs(value) >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${(unit > 0 && value < 100) || (value > 0 && value < 10) ? value.toFixed(1) : Math.round(value)} ${units[unit]}`
}
