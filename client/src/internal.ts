// Names for our own command, without a promise to users.
export { connectionText } from './repl/connection-text.ts';
