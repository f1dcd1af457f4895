/** The part of Qlobber that Aedes' persistences match topics with; it comes without types. */
declare module 'qlobber/aedes/qlobber-sub.js' {
  interface Value {
    clientId: string
    topic: string
    qos: 0 | 1 | 2
  }

  export default class QlobberSub {
    readonly subscriptionsCount: number
    constructor(options: {
      wildcard_one: string
      wildcard_some: string
      separator: string
      match_empty_levels: boolean
    })
    add(topic: string, value: Value): void
    remove(topic: string, value: Value): void
    match(topic: string): Value[]
    clear(): void
  }
}
