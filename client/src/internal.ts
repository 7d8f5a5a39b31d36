// Names that our own command needs beside the public lists. They are not promised to users.
export { connectionText } from './repl/connection-text.ts';
