// The Agent Client Protocol for `fame acp`. Serves one editor over two streams, without the HTTP doors.
export { type AcpOptions, serveAcp } from './acp/acp-agent.ts';
