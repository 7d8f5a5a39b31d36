/** Returns the note about a lost or restored connection to the sentinel. */
export const connectionText = (isConnected: boolean): string =>
  isConnected ? 'Connected again.' : 'Reconnecting...';
