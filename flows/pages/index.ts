import style from './style.css?inline'

/** Under this name the dashboard finds the widget in what Vite builds: see `flows/build-pages.ts`. */
export { default as FaultlineWidget } from './FaultlineWidget.vue'

const sheet = document.createElement('style')
sheet.textContent = style
document.head.append(sheet)
