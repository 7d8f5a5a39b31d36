/** The note about a connection to the sentinel that was lost, or is back. */
export const connectionText = (isConnected: boolean): string =>
  isConnected ? 'Connected again.' : 'Reconnecting...';
