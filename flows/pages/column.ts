/** A column of a page's list. */
export interface Column {
  title: string
  /** Name by which the node orders; absent where the list is not ordered by it. */
  sort?: string
  right?: boolean
  about?: string
}
