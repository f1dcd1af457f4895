/** The report's style sheet: system fonts, one column, fit for paper. */
export const style = `
:root { --ink: #1c2430; --soft: #5b6573; --line: #e3e7ec; --paper: #fff; --ground: #f5f7f9 }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
main { max-width: 1120px; margin: 0 auto; padding: 32px 20px 64px }
header { margin: 12px 4px 28px }
.brand { margin: 0; color: #d55e00; font-weight: 700; letter-spacing: .08em; text-transform: uppercase; font-size: 13px }
h1 { margin: 4px 0 10px; font-size: 30px; line-height: 1.2; letter-spacing: -.01em }
h2 { margin: 0 0 4px; font-size: 20px }
h3 { margin: 22px 0 8px; font-size: 15px }
.lead { margin: 0 0 14px; max-width: 78ch; color: var(--soft) }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 24px 26px; margin: 0 0 22px }
figure { margin: 0 }
figcaption { color: var(--soft); font-size: 13px; margin-top: 4px }
figure.wide { margin-bottom: 18px }
.pair { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 20px 28px }
.triple { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 20px 28px }
@media (max-width: 760px) { .pair, .triple { grid-template-columns: minmax(0, 1fr) } }
.plot { display: block; width: 100%; height: auto }
.plot .grid { stroke: #eceff3; stroke-width: 1 }
.plot .axis { stroke: #aab2bd; stroke-width: 1 }
.plot text { font-size: 11px; font-family: inherit; fill: var(--soft) }
.plot .label { font-size: 12px; fill: var(--ink) }
.plot .note { font-size: 11px; paint-order: stroke; stroke: #fff; stroke-width: 3px; stroke-linejoin: round }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0 0 12px; padding: 0; font-size: 13px }
.legend i, .figures td i { display: inline-block; width: 10px; height: 10px; border-radius: 50%; margin-right: 6px }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 7px 10px 7px 0; border-bottom: 1px solid var(--line); vertical-align: top }
thead th { color: var(--soft); font-weight: 600; font-size: 12.5px }
.met, .missed { padding: 2px 9px; border-radius: 20px; font-size: 12.5px; font-weight: 600; white-space: nowrap }
.met { background: #dff3ea; color: #00684b }
.missed { background: #fde7da; color: #a23c00 }
.matrix th, .matrix td { text-align: center; padding: 8px 4px; font-size: 12px; border: 1px solid #fff; font-weight: 500 }
.matrix tbody th { text-align: right; padding-right: 8px; color: var(--soft) }
.scroll { overflow-x: auto }
.figures { font-size: 11.5px }
.figures td { padding: 4px 8px 4px 0; white-space: nowrap; border-bottom: 0 }
.figures tr.first td { border-top: 1px solid var(--line) }
.figures tr.together td { background: #fafbfc; font-weight: 600 }
.figures .group th { padding-top: 20px; font-size: 14px; border-bottom: 0 }
.figures .group span, .figures small { color: var(--soft); font-weight: 400; font-size: 12px }
.figures small { display: block; font-size: 11px }
.images { display: flex; flex-wrap: wrap; gap: 14px }
.images figure { width: 118px }
.images img { width: 96px; height: 96px; image-rendering: pixelated; border-radius: 6px; display: block }
.images figcaption { line-height: 1.35; font-size: 12px }
.images b { color: var(--ink) }
h3 small { color: var(--soft); font-weight: 400 }
.wide-matrices .matrix { table-layout: fixed; margin: 0 0 4px }
.wide-matrices figure { margin-bottom: 22px }
ul { padding-left: 20px; margin: 0 }
li { margin: 0 0 4px }
@media print { body { background: #fff } section { break-inside: avoid-page; border: 0; padding: 0 } main { max-width: none } }
`
