/** The widget of the pages, as Dashboard 2 loads it: package, node type, the file below `resources`, and what that exports. */
export const pagesWidget = {
  package: 'node-red-contrib-faultline',
  type: 'ui-faultline',
  file: 'ui-faultline.umd.js',
  component: 'FaultlineWidget',
} as const
