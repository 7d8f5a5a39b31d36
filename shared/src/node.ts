// What shared offers to Node processes beyond `index.ts`: logs through pino, the sid hash, WebSockets through ws.
export { wsDial } from './link/ws-transport.ts';
export { createLog, SECRET_FIELDS } from './pino-log.ts';
export { sidOf } from './sid.ts';
