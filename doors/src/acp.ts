// The Agent Client Protocol, for the command. It serves one editor over two streams and needs none of the HTTP doors.
export { type AcpOptions, serveAcp } from './acp/acp-agent.ts';
