import { type InjectionKey, inject, onMounted, onUnmounted, provide, shallowReactive } from 'vue'
import { type AskedLook, PageModel } from './page-model.ts'

/** What the dashboard gives every widget (https://dashboard.flowfuse.com/contributing/widgets/third-party.html). */
interface DashboardSocket {
  on(event: string, hear: (value: never) => void): void
  off(event: string, hear: (value: never) => void): void
  emit(event: string, ...values: unknown[]): void
}

const pageKey: InjectionKey<PageModel> = Symbol('page')

/** Of widgets by address: the dashboard makes its widgets anew with every connection, and a page goes on where it was. */
const pages = new Map<string, PageModel>()

export const useSocket = (): DashboardSocket => inject<DashboardSocket>('$socket')!

/** The model of a page while its widget is there, connected to the node of the widget. */
export function providePage(id: string, look: AskedLook): PageModel {
  const socket = useSocket()
  const place = `${id} ${window.location.href}`
  const page =
    pages.get(place) ??
    shallowReactive(
      new PageModel({
        look,
        send: message => socket.emit('widget-send', id, message),
        isVisible: () => !document.hidden,
      }),
    )
  pages.set(place, page)
  provide(pageKey, page)
  const heard = `msg-input:${id}`
  const hear = (message: Parameters<PageModel['hear']>[0]) => page.hear(message)
  const lookAnew = () => page.lookAnew()
  const lose = () => page.lose()
  const ask = () => page.ask()
  let clock: ReturnType<typeof setInterval> | undefined
  onMounted(() => {
    socket.on(heard, hear)
    socket.on('connect', lookAnew)
    socket.on('disconnect', lose)
    document.addEventListener('visibilitychange', ask)
    clock = setInterval(() => page.tick(Date.now()), 1000)
    page.lookAnew()
  })
  onUnmounted(() => {
    clearInterval(clock)
    socket.off(heard, hear)
    socket.off('connect', lookAnew)
    socket.off('disconnect', lose)
    document.removeEventListener('visibilitychange', ask)
  })
  return page
}

/** The model of the page that a component is part of. */
export const usePage = (): PageModel => inject(pageKey)!
