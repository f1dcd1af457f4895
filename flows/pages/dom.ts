/** What a field holds after an event of it. */
export const fieldValue = (event: Event): string => (event.target as HTMLInputElement | HTMLSelectElement).value

/** An entry of the page's own address; empty where there is none. */
export const addressed = (name: string): string => new URLSearchParams(window.location.search).get(name) ?? ''
