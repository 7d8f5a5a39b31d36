/** The command that attaches the chat agent to the sentinel that serves a page with this location. */
export function attachCommand({
  protocol,
  hostname,
  port,
}: Pick<Location, 'protocol' | 'hostname' | 'port'>): string {
  const isLoopback = ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
  if (isLoopback && protocol === 'http:') {
    return port === '8000'
      ? 'npx fame-fabric agent'
      : `FAME_LISTENER_PORT=${port || '80'} npx fame-fabric agent`;
  }
  const host = port === '' ? hostname : `${hostname}:${port}`;
  const scheme = protocol === 'https:' ? 'wss' : 'ws';
  return `FAME_DIRECT_ADMISSION_URL=${scheme}://${host}/fame/v1/attach/ws/downstream npx fame-fabric agent`;
}
