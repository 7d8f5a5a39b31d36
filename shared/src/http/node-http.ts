// The module `node:http`, without the rest that an `import` of it loads. An import reads every export of a built-in module, and one of
// these, `WebSocket`, loads undici: 29 ms of CPU time at the start of a process that needs no undici (decision 61).

/** Use it for values; types are imported from `node:http`. */
export const http: typeof import('node:http') = process.getBuiltinModule('node:http');
